"""The ONNX format: graphs, weights, folders, and ONNX Runtime on them."""
