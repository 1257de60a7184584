"""Run by test_governed.py in the environment of tritonclient: prints what it saw as JSON."""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton

endpoint, authority = sys.argv[1:3]
given = json.load(sys.stdin)
client = triton.InferenceServerClient(endpoint, ssl=True, root_certificates=authority)
answers = queue.Queue()
client.start_stream(
    lambda result, error: answers.put((result, error)),
    headers={"authorization": f"Bearer {given['token']}"},
)
prompt = triton.InferInput("text_input", [1], "BYTES")
prompt.set_data_from_numpy(np.array([given["prompt"].encode()], np.object_))
client.async_stream_infer(
    "tiny", [prompt], enable_empty_final_response=True, parameters={"max_tokens": 12}
)
texts, final = [], []
while not final or not final[-1]:
    result, error = answers.get(timeout=30)
    if error is not None:
        raise error
    texts.append(result.as_numpy("text_output")[0].decode())
    final.append(result.get_response().parameters["triton_final_response"].bool_param)
client.async_stream_infer("tiny", [prompt], parameters={"max_tokens": 0})
refused = str(answers.get(timeout=30)[1])
client.stop_stream()
print(json.dumps({"texts": texts, "final": final, "refused": refused}))
