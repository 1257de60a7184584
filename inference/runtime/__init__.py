"""ONNX Runtime: sessions, execution providers, CPU use and graph rewrites.

Importing the package turns off ONNX Runtime's telemetry. Since 1.31 the library starts a reporting
thread as soon as it is loaded, and `disable_telemetry_events` comes too late for it.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
