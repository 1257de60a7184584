"""Run by test_tritonclient.py in the environment of tritonclient: prints what it saw as JSON."""

import json
import ssl
import sys

import gevent.ssl
import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, authority, token, certificate, key = sys.argv[1:]


def known():
    """Made anew for each call, which adds to them."""
    return {"authorization": f"Bearer {token}"}


def connected(*pair):
    """A client that knows the gateway's authority, and shows a certificate where it has one."""

    def context(**_):
        found = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        found.load_verify_locations(authority)
        if pair:
            found.load_cert_chain(*pair)
        return found

    return triton.InferenceServerClient(address, ssl=True, ssl_context_factory=context)


client, auditor = connected(), connected(certificate, key)
rows = np.array(json.load(sys.stdin), np.float32)


def infer(raw_in, raw_out, **options):
    tensor = triton.InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=raw_in)
    outputs = [triton.InferRequestedOutput("logits", binary_data=raw_out)]
    return client.infer("digits", [tensor], headers=known(), outputs=outputs, **options)


def refused(call, *arguments, **options):
    """The status and the text of a refusal."""
    try:
        call(*arguments, **options)
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return None


def logits(answer):
    return answer.as_numpy("logits").tolist()


answers = [infer(raw_in, raw_out) for raw_in in (True, False) for raw_out in (True, False)]
answers += [infer(True, True, request_compression_algorithm=name) for name in ("gzip", "deflate")]
asked = {"receipt": True, "nonce": "AAECAwQFBgcICQoLDA0ODw"}
proven = infer(True, True, request_id="7", parameters=asked, priority=1, timeout=50_000_000)
tensor = triton.InferInput("x", list(rows.shape), "FP32")
tensor.set_data_from_numpy(rows)
answers.append(client.infer("digits", [tensor], headers=known(), model_version="1"))
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model ready": client.is_model_ready("digits", headers=known()),
            "nobody ready": client.is_model_ready("nobody", headers=known()),
            "server": client.get_server_metadata(headers=known()),
            "metadata": client.get_model_metadata("digits", headers=known()),
            "config": client.get_model_config("digits", "1", headers=known()),
            "statistics": auditor.get_inference_statistics("digits"),
            "index": auditor.get_model_repository_index(),
            "logits": [logits(answer) for answer in answers],
            "id": proven.get_response()["id"],
            "receipt": proven.get_response()["parameters"]["receipt"],
            "unknown": refused(client.infer, "nobody", [tensor], headers=known()),
            "anonymous": refused(client.infer, "digits", [tensor]),
            "load": refused(auditor.load_model, "digits"),
            "unload": refused(auditor.unload_model, "digits"),
            "shared memory": refused(auditor.get_system_shared_memory_status),
        }
    )
)
