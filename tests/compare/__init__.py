"""``quantize-report`` and ``quantize-search``, and the arithmetic they rest on."""
