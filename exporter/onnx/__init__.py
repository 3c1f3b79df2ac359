"""A target and its drafter as a folder of ONNX files, for ONNX Runtime.

``trace_worker`` and ``translate`` turn the torch functions of ``exporter.lowering.signatures`` into
weightless ONNX graphs, ``bind`` gives them their weights as external data; ``exporter.bundle.onnx_folder``
knows what lies where. Only modules of this package and of ``runtime_py.onnx`` import onnx and onnxruntime,
which are an extra.
"""
