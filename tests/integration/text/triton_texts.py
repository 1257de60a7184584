"""Run by test_tritonclient_texts.py in the environment of tritonclient: prints what it saw."""

import json
import sys

import numpy as np
import tritonclient.grpc as triton

endpoint, authority, token = sys.argv[1:4]
client = triton.InferenceServerClient(endpoint, ssl=True, root_certificates=authority)
headers = {"authorization": f"Bearer {token}"}
texts = np.array([text.encode() for text in json.load(sys.stdin)], object)
tensor = triton.InferInput("text", list(texts.shape), "BYTES")
tensor.set_data_from_numpy(texts)
answer = client.infer(
    "letters", [tensor], headers=headers, parameters={"receipt": True}, client_timeout=60
)
metadata = client.get_model_metadata("letters", headers=headers, as_json=True)
print(
    json.dumps(
        {
            "datatype": metadata["inputs"][0]["datatype"],
            "logits": answer.as_numpy("logits").tolist(),
            "receipt": answer.get_response().parameters["receipt"].string_param,
        }
    )
)
