"""Imported before onnxruntime, which since 1.31 else reports to its maker from a thread of its own.

`disable_telemetry_events` comes too late: the thread is there once the library is loaded.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
