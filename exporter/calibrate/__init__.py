"""Codes chosen with a calibration text (GPTQ): both models are run over it, one layer at a time.

Needs torch (the ``export`` extra), which nothing else in binding does; the rest of the exporter imports
this package only when a recipe asks for it.
"""
