"""Chat templates: rendered as LiteRT-LM and as transformers do, and made to fit the engine."""
