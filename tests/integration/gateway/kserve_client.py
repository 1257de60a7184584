"""Run by test_kserve.py in the environment of KServe: prints what it saw as JSON."""

import asyncio
import json
import sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

endpoint, authority, token = sys.argv[1:]
rows = np.array(json.load(sys.stdin), np.float32)


async def main():
    tensor = InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=True)
    typed = InferInput("x", list(rows.shape), "FP32", data=rows.ravel().tolist())
    headers = (("authorization", f"Bearer {token}"),)
    client = InferenceGRPCClient(endpoint, use_ssl=True, root_certificates=authority)
    answers = [
        await client.infer(
            InferRequest(
                "digits", [item], request_id=name, parameters={"priority": 1, "receipt": True}
            ),
            headers=headers,
        )
        for name, item in (("raw", tensor), ("typed", typed))
    ]
    try:
        await client.infer(InferRequest("digits", [tensor]))
        refused = None
    except grpc.RpcError as error:
        refused = [error.code().name, error.details()]
    return {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model_ready": await client.is_model_ready("digits", headers=headers),
        "ids": [answer.id for answer in answers],
        "version": answers[0].model_version,
        "receipt": "receipt" in answers[0].parameters,
        "logits": [answer.outputs[0].as_numpy().tolist() for answer in answers],
        "refused": refused,
    }


print(json.dumps(asyncio.run(main())))
