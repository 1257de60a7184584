"""Checks of the files of a version, ONNX, safetensors and JSON, without executing them."""
