"""LitServe with the model, over HTTP with JSON, which is what it speaks."""

import numpy as np
from graph import Graph, arguments
from litserve import LitAPI, LitServer


class OnnxApi(LitAPI):
    def __init__(self, path, **setting):
        super().__init__(**setting)
        self._path = path

    def setup(self, device):
        self._graph = Graph(self._path)

    def decode_request(self, request):
        return self._graph.read(request)

    def batch(self, inputs):
        return {name: np.concatenate([one[name] for one in inputs]) for name in inputs[0]}

    def unbatch(self, output):
        return list(output)

    def predict(self, x):
        return self._graph.run(x)

    def encode_response(self, output):
        return {"output": output.tolist()}


def main():
    path, port, setting = arguments()
    api = OnnxApi(path, max_batch_size=setting["batch"], batch_timeout=setting["delay"])
    server = LitServer(
        api,
        accelerator="cpu",
        devices=1,
        workers_per_device=setting["workers"],
        fast_queue=setting["fast_queue"],
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
