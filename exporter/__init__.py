"""From Hugging Face checkpoints of a Gemma 4 target and its MTP drafter to one ``.litertlm`` bundle.

The files are the pipeline, in this order: ``checkpoint`` and ``config`` read the input, ``model``
holds the torch modules, ``signatures`` says what is exported, ``lower`` makes a graph without
weights, ``bind`` streams the weights into it, ``bundle`` packs the sections, and ``pipeline`` is the
straight line through all of them.
"""
