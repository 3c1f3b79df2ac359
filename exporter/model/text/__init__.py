"""The torch modules that are traced: ``layers``, then ``target`` and ``drafter`` built from them.

Written for export: static shapes, KV caches as arguments and results, no transformers code. The
parameter names are the checkpoint's, less the prefix of the text model.
"""
