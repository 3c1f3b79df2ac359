"""Exported ONNX models on ONNX Runtime, behind the same executor."""
