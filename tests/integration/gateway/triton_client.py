"""Run by test_tritonclient.py in the environment of tritonclient: prints what it saw as JSON."""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

endpoint, authority, token = sys.argv[1:4]
client = triton.InferenceServerClient(endpoint, ssl=True, root_certificates=authority)
headers = {"authorization": f"Bearer {token}"}
rows = np.array(json.load(sys.stdin), np.float32)
tensor = triton.InferInput("x", list(rows.shape), "FP32")
tensor.set_data_from_numpy(rows)
answer = client.infer(
    "digits",
    [tensor],
    headers=headers,
    request_id="7",
    outputs=[triton.InferRequestedOutput("logits")],
    parameters={"receipt": True, "nonce": "AAECAwQFBgcICQoLDA0ODw"},
    client_timeout=60,
)
metadata = client.get_model_metadata("digits", headers=headers, as_json=True)
try:
    client.infer("unknown", [tensor], headers=headers)
    refused = None
except InferenceServerException as error:
    refused = str(error)
response = answer.get_response()
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready("digits", headers=headers),
            "inputs": [item["name"] for item in metadata["inputs"]],
            "classes": answer.as_numpy("logits").argmax(axis=1).tolist(),
            "version": response.model_version,
            "id": response.id,
            "receipt": response.parameters["receipt"].string_param,
            "refused": refused,
        }
    )
)
