"""Publishing: turns a trained model into a signed, watermarked and calibrated version.

Importing it turns off ONNX Runtime's telemetry before any of its modules can load the library.
"""

import inference.runtime  # noqa: F401
