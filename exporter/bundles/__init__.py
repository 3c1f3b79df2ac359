"""``.litertlm`` bundles: written, read and inspected, and the manifest inside."""
