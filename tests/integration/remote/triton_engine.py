"""Run by test_triton_engine.py in the environment of tritonclient: prints what it saw as JSON."""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

socket, digest, rows = sys.argv[1:]
x = np.array(json.loads(rows), np.float32)
client = triton.InferenceServerClient(f"unix:{socket}")
tensor = triton.InferInput("x", x.shape, "FP32")
tensor.set_data_from_numpy(x)


def refused(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except InferenceServerException as error:
        return error.status()
    return None


answer = client.infer("digits", [tensor], model_version="1", parameters={"digest": digest})
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready() and client.is_model_ready("digits", "1"),
            "index": [
                [m.name, m.version, m.state] for m in client.get_model_repository_index().models
            ],
            "logits": answer.as_numpy("logits").tolist(),
            "features": list(answer.as_numpy("sealgate_features").shape),
            "without_digest": refused(client.infer, "digits", [tensor], model_version="1"),
            "bare_load": refused(client.load_model, "digits"),
            "load_with_files": refused(
                client.load_model,
                "digits",
                config="{}",
                files={"file:1/model.onnx": b"anything"},
            ),
            "unload": refused(client.unload_model, "digits"),
        }
    )
)
