"""Run by test_tritonclient.py in the environment of tritonclient: prints what it saw as JSON."""

import asyncio
import json
import sys

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as aio
from tritonclient.utils import InferenceServerException

endpoint, authority, token, mutual, certificate, key = sys.argv[1:]
headers = {"authorization": f"Bearer {token}"}
rows = np.array(json.load(sys.stdin), np.float32)


async def refused(call):
    try:
        await call
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return None


async def main():
    tensor = triton.InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    trusting = {"ssl": True, "root_certificates": authority}
    async with (
        aio.InferenceServerClient(endpoint, **trusting) as client,
        aio.InferenceServerClient(
            mutual, **trusting, certificate_chain=certificate, private_key=key
        ) as auditor,
    ):
        algorithms = (None, "gzip", "deflate")
        answers = await asyncio.gather(
            *(
                client.infer(
                    "digits",
                    [tensor],
                    headers=headers,
                    request_id=str(number),
                    priority=number % 3,
                    timeout=50_000_000,
                    client_timeout=60,
                    compression_algorithm=algorithms[number % 3],
                )
                for number in range(12)
            )
        )
        config = await client.get_model_config("digits", headers=headers, as_json=True)
        statistics = await auditor.get_inference_statistics(as_json=True)
        index = await auditor.get_model_repository_index(as_json=True)
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready("digits", headers=headers),
            "ids": [answer.get_response().id for answer in answers],
            "logits": [answer.as_numpy("logits").tolist() for answer in answers],
            "config": config["config"]["name"],
            "statistics": [item["name"] for item in statistics["model_stats"]],
            "index": [item["name"] for item in index["models"]],
            "load": await refused(client.load_model("digits", headers=headers)),
            "unload": await refused(client.unload_model("digits", headers=headers)),
            "shared memory": await refused(client.get_system_shared_memory_status(headers=headers)),
            "too short": await refused(
                client.infer("digits", [tensor], headers=headers, timeout=1)
            ),
        }


print(json.dumps(asyncio.run(main())))
