"""Chat templates: rendering, choosing and rewriting."""
