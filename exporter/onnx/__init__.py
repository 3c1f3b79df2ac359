"""A target and its drafter as a folder of ONNX files, for ONNX Runtime.

``trace_worker`` and ``translate`` turn the torch functions of ``exporter.lowering.signatures`` into
weightless ONNX graphs, ``bind`` gives them their weights as external data, ``writer`` completes the
folder. Only this package and ``runtime_py.onnx`` import onnx and onnxruntime, which are an extra.
"""
