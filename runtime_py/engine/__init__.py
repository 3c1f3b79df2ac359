"""The stock LiteRT-LM engine, run in a process of its own."""
