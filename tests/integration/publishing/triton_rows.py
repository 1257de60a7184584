"""Run by test_ready_models.py in the environment of tritonclient: asks about each row by itself,
and prints what was answered with its receipt, or None, as JSON.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

endpoint, authority, token, model = sys.argv[1:]
client = triton.InferenceServerClient(endpoint, ssl=True, root_certificates=authority)
headers = {"authorization": f"Bearer {token}"}
metadata = client.get_model_metadata(model, headers=headers, as_json=True)
(entering,), (leaving,) = metadata["inputs"], metadata["outputs"]


def ask(row: np.ndarray) -> tuple[list[float], str] | None:
    tensor = triton.InferInput(entering["name"], [1, *row.shape], entering["datatype"])
    tensor.set_data_from_numpy(row[np.newaxis])
    asked = {"headers": headers, "client_timeout": 60, "parameters": {"receipt": True}}
    try:
        answer = client.infer(model, [tensor], **asked)
    except InferenceServerException:
        return None
    receipt = answer.get_response().parameters["receipt"].string_param
    return answer.as_numpy(leaving["name"])[0].tolist(), receipt


print(json.dumps([ask(row) for row in np.array(json.load(sys.stdin), np.float32)]))
