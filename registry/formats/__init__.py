"""Which files a version may hold: ONNX, safetensors and JSON, checked without executing them."""
