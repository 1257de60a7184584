"""Training: recipes turn data and a teacher into a model that can be published.

Importing it turns off ONNX Runtime's telemetry before any of its modules can load the library.
"""

import inference.runtime  # noqa: F401
