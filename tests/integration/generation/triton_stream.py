"""Run by test_governed.py in the environment of tritonclient: prints what it saw as JSON."""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton

# Less than whoever runs this waits, so that it can still say what did not come.
_SECONDS = 60

endpoint, authority = sys.argv[1:3]
given = json.load(sys.stdin)
client = triton.InferenceServerClient(endpoint, ssl=True, root_certificates=authority)
answers = queue.Queue()


def answer(what):
    """The next result and error."""
    try:
        return answers.get(timeout=_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"{what} did not come within {_SECONDS} s, after {texts}") from None


texts, final = [], []
try:
    client.start_stream(
        lambda result, error: answers.put((result, error)),
        headers={"authorization": f"Bearer {given['token']}"},
    )
    prompt = triton.InferInput("text_input", [1], "BYTES")
    prompt.set_data_from_numpy(np.array([given["prompt"].encode()], np.object_))
    client.async_stream_infer(
        "tiny", [prompt], enable_empty_final_response=True, parameters={"max_tokens": 12}
    )
    while not final or not final[-1]:
        result, error = answer("a part")
        if error is not None:
            raise error
        texts.append(result.as_numpy("text_output")[0].decode())
        final.append(result.get_response().parameters["triton_final_response"].bool_param)
    client.async_stream_infer("tiny", [prompt], parameters={"max_tokens": 0})
    refused = str(answer("a refusal")[1])
    client.stop_stream()
finally:
    # Its thread is no daemon: while it reads, the process would not end, whatever went wrong.
    client.stop_stream(cancel_requests=True)
print(json.dumps({"texts": texts, "final": final, "refused": refused}))
