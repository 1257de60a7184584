"""Run in an environment that holds the client's wheel alone: asks once, prints what it was told."""

import importlib.util
import json
import sys

import numpy as np

import sealgate

options = json.loads(sys.stdin.read())
url, rows = options.pop("url"), np.array(options.pop("rows"), np.float32)
with sealgate.connect(url, **options) as client:
    answer = client.infer("digits", {"x": rows})
servers = ("registry", "inference", "gateway", "publishing", "onnxruntime", "sqlalchemy")
print(
    json.dumps(
        {
            "classes": answer["logits"].argmax(axis=1).tolist(),
            "outcome": answer.receipt.fields["outcome"],
            "receipt": answer.receipt.data.decode(),
            "sealgate": sealgate.__file__,
            "servers": [name for name in servers if importlib.util.find_spec(name)],
        }
    )
)
