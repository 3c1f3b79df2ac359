"""``mtp-export verify``, and the bundles it must fail."""
