"""The demo: an installation of the public names alone, shown and attacked.

Importing it turns off ONNX Runtime's telemetry before any of its modules can load the library.
"""

import inference.runtime  # noqa: F401
