"""KServe's own Python server with the model."""

from graph import Graph, arguments
from kserve import InferOutput, InferResponse, Model, ModelServer


class OnnxModel(Model):
    def __init__(self, path):
        super().__init__("model")
        self._path = path
        self.load()

    def load(self):
        self._graph = Graph(self._path)
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        found = self._graph.run({tensor.name: tensor.as_numpy() for tensor in payload.inputs})
        output = InferOutput(self._graph.output, list(found.shape), "FP32")
        output.set_data_from_numpy(found, binary_data=True)
        return InferResponse(payload.id, "model", [output])


def main():
    path, port, setting = arguments()
    ModelServer(
        http_port=port + 1,
        grpc_port=port,
        workers=setting["workers"],
        access_log_format=None,
    ).start([OnnxModel(path)])


if __name__ == "__main__":
    main()
