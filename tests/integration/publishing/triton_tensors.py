"""Run by test_mixed_inputs.py in the environment of tritonclient: sends tensors by name, and
prints the model's metadata with each answer or the reason why there is none, as JSON.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

endpoint, authority, token, model = sys.argv[1:]
client = triton.InferenceServerClient(endpoint, ssl=True, root_certificates=authority)
headers = {"authorization": f"Bearer {token}"}
metadata = client.get_model_metadata(model, headers=headers, as_json=True)
config = client.get_model_config(model, headers=headers, as_json=True)["config"]
TYPES = {"INT64": np.int64, "FP32": np.float32, "BYTES": np.object_}
kinds = {each["name"]: TYPES[each["datatype"]] for each in metadata["inputs"]}
(leaving,) = metadata["outputs"]


def ask(tensors: dict[str, object]) -> dict[str, object]:
    inputs = []
    for name, value in tensors.items():
        array = np.array(value, kinds.get(name, np.float32))
        tensor = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    asked = {"headers": headers, "client_timeout": 60, "parameters": {"receipt": True}}
    try:
        answer = client.infer(model, inputs, **asked)
    except InferenceServerException as error:
        return {"reason": error.message().partition(":")[0]}
    receipt = answer.get_response().parameters["receipt"].string_param
    return {"answer": answer.as_numpy(leaving["name"]).tolist(), "receipt": receipt}


answers = [ask(each) for each in json.load(sys.stdin)]
optional = [each["name"] for each in config["input"] if each.get("optional")]
print(json.dumps({"metadata": metadata, "optional": optional, "answers": answers}))
