"""From Hugging Face checkpoints of a Gemma 4 target and its MTP drafter to one ``.litertlm`` bundle.

``pipeline`` is the straight line through the packages, in this order: ``checkpoints`` reads the input
(and ``lora`` what is added to it), ``model`` holds the torch modules, ``lowering`` makes graphs of them
without weights, ``calibrate`` chooses codes where a recipe wants that, ``binding`` streams the weights
in, ``bundles`` packs the sections. ``onnx`` is the other format. ``contract`` is what all of them and the
engine agree on. ``parity`` and ``quality`` judge what was made; ``cli`` is the command.
"""
