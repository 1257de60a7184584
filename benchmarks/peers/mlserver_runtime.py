"""MLServer with the model, in a runtime of its own; run as a program it starts the server."""

import json
import os
import sys
import tempfile
from pathlib import Path

from graph import Graph, arguments
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class OnnxRuntime(MLModel):
    async def load(self):
        self._graph = Graph(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        inputs = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        found = self._graph.run(self._graph.read(inputs))
        output = NumpyCodec.encode_output(self._graph.output, found)
        return InferenceResponse(model_name=self.name, outputs=[output])


def start(implementation, uri, port, setting):
    """Become MLServer with one model."""
    folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
    server = {
        "http_port": port + 1,
        "grpc_port": port,
        "metrics_port": port + 2,
        "parallel_workers": setting["workers"],
        "debug": False,
        "environments_dir": str(folder / "environments"),
    }
    model = {
        "name": "model",
        "implementation": implementation,
        "max_batch_size": setting["batch"],
        "max_batch_time": setting["delay"],
        "parameters": {"uri": uri},
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
    program = Path(sys.executable).with_name("mlserver")
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = here
    os.execv(program, [str(program), "start", str(folder)])  # noqa: S606


if __name__ == "__main__":
    path, port, setting = arguments()
    start("mlserver_runtime.OnnxRuntime", path, port, setting)
