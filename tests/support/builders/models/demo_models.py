"""The demo's models: their graphs, the torch modules rebuilt from them, and their data."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

from demo.train_models import Mlp, rebuild
from inference.model.config import ModelConfig
from inference.runtime import response_contract
from inference.runtime.graph_rewrites import with_gradient

DEMO = Path(__file__).parents[4] / "demo"
FOLDERS = ("digits-standard", "digits-hardened", "breast-cancer")


def opened(graph: bytes) -> onnxruntime.InferenceSession:
    """The graph on one thread; a response graph shows its gradient, too, as when publishing."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    shown = with_gradient(graph, response_contract.X_ADV, response_contract.GRADIENT)
    return onnxruntime.InferenceSession(shown, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True, slots=True, eq=False)
class DemoModel:
    """One committed model; `module` holds the weights of its response graph."""

    config: ModelConfig
    serving: bytes
    response: bytes
    module: Mlp
    session: onnxruntime.InferenceSession
    data: dict[str, np.ndarray]

    @classmethod
    @cache
    def load(cls, folder: str) -> "DemoModel":
        """The same one each time."""
        source = DEMO / "models" / folder
        config = ModelConfig.decode((source / "model.json").read_bytes())
        response = (source / "response.onnx").read_bytes()
        return cls(
            config,
            (source / "serving.onnx").read_bytes(),
            response,
            rebuild(onnx.load_model_from_string(response)),
            opened(response),
            load_file(DEMO / "data" / f"{config.name}.safetensors"),
        )
