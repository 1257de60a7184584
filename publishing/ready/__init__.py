"""Governs a ready ONNX model: from a file and its data to a source folder.

Surface: `prepare`, with `ModelDescription` for what a file does not say.
"""
