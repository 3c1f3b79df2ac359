"""From Hugging Face checkpoints of a Gemma 4 target and its MTP drafter to one ``.litertlm`` bundle.

``pipeline`` is the straight line through the packages, in this order: ``checkpoints`` reads the input,
``model`` holds the torch modules, ``lowering`` makes graphs of them without weights, ``calibrate`` chooses
codes where a recipe wants that, ``weights`` says which tensor fills which weight, ``litertlm`` streams the
weights in and packs the sections; ``onnx`` is the other format. ``contract`` is what all of them and the
engine agree on, ``bundle`` is what the runtime reads. ``verify`` and ``compare`` judge what was made; ``cli``
is the command.
"""
