"""Export of torch models to the ONNX graphs of a version."""
