"""What the measuring scripts share: clocks, graphs lowered on purpose, LiteRT driven directly, drafts."""
