"""From torch modules without weights to LiteRT graphs of about a megabyte, and where these are kept."""
