"""What runs on LiteRT's GPU delegate. Without a device these tests are skipped, and say why."""
