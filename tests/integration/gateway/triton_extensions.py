"""Run by test_tritonclient.py in the environment of tritonclient: prints what it saw as JSON.

Calls beyond inference, with a client's token and with an auditor's certificate.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

endpoint, authority, token, mutual, certificate, key = sys.argv[1:]
client = triton.InferenceServerClient(endpoint, ssl=True, root_certificates=authority)
headers = {"authorization": f"Bearer {token}"}
auditor = triton.InferenceServerClient(
    mutual, ssl=True, root_certificates=authority, certificate_chain=certificate, private_key=key
)
rows = np.array(json.load(sys.stdin), np.float32)
tensor = triton.InferInput("x", list(rows.shape), "FP32")
tensor.set_data_from_numpy(rows)


def refused(call, *arguments, **options):
    """The status and the text of a refusal."""
    try:
        call(*arguments, **options)
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return None


def infer(**options):
    options.setdefault("headers", headers)
    return client.infer("digits", [tensor], client_timeout=60, **options)


def counts():
    (found,) = auditor.get_inference_statistics("digits", as_json=True)["model_stats"]
    return found


before = counts()
answers = [infer(), infer(priority=1, timeout=50_000_000), infer(priority=2)]
for algorithm in ("gzip", "deflate"):
    wish = {**headers, "sealgate-answer-encoding": algorithm}
    answers.append(infer(headers=wish, compression_algorithm=algorithm, request_id=algorithm))
after = counts()
print(
    json.dumps(
        {
            "config": client.get_model_config("digits", headers=headers, as_json=True)["config"],
            "extensions": list(client.get_server_metadata(headers=headers).extensions),
            "index": auditor.get_model_repository_index(as_json=True)["models"],
            "own index": client.get_model_repository_index(headers, as_json=True)["models"],
            "own counts": client.get_inference_statistics(
                "digits", "1", headers=headers, as_json=True
            )["model_stats"],
            "all counts": client.get_inference_statistics(headers=headers, as_json=True),
            "before": before,
            "after": after,
            "logits": [answer.as_numpy("logits").tolist() for answer in answers],
            "ids": [answer.get_response().id for answer in answers],
            "too short": refused(infer, timeout=1),
            "no such priority": refused(infer, priority=3),
            "load": refused(auditor.load_model, "digits"),
            "unload": refused(auditor.unload_model, "digits"),
            "unimplemented": {
                name: refused(getattr(auditor, name), *arguments)
                for name, arguments in {
                    "get_system_shared_memory_status": (),
                    "register_system_shared_memory": ("region", "/region", 64),
                    "unregister_system_shared_memory": (),
                    "get_cuda_shared_memory_status": (),
                    "register_cuda_shared_memory": ("region", b"aGFuZGxl", 0, 64),
                    "unregister_cuda_shared_memory": (),
                    "get_trace_settings": (),
                    "update_trace_settings": (),
                    "get_log_settings": (),
                    "update_log_settings": ({},),
                }.items()
            },
        }
    )
)
