"""The same model as a folder of ONNX files, for ONNX Runtime.

``trace`` and ``translate`` turn the torch functions of ``exporter.lowering.signatures`` into weightless ONNX
graphs, ``bind`` gives them their weights as external data, ``folder`` knows what lies where. Only this
package and ``runtime_py.onnx_*`` import onnx and onnxruntime, which are an extra.
"""
