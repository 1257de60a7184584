"""The models that every server is measured with, and the requests for them in each wire form."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from demo.materials import DATA
from inference.text import tokens
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, write_inputs

Array = npt.NDArray[Any]

ENVIRONMENTS = Path(".venv-peers")
_MAKER = Path(__file__).parent / "peers" / "minilm.py"
_TEXTS = 1500


@dataclass(frozen=True, slots=True)
class Served:
    """A graph and its inputs by name, [n, …] each, one row a request; `values` an answer has."""

    name: str
    graph: Path
    inputs: Mapping[str, Array]
    values: int

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def rows(self) -> Iterator[dict[str, Array]]:
        """The inputs of each request, [1, …]."""
        for place in range(len(self)):
            yield {name: array[place : place + 1] for name, array in self.inputs.items()}

    def protobuf(self, model: str, receipt: bool = False) -> list[bytes]:
        """Requests of the Open Inference Protocol, which name the model so."""
        return [_message(model, row, receipt) for row in self.rows()]

    def json(self) -> list[bytes]:
        """JSON objects with the inputs by name."""
        return [
            json.dumps({name: array.tolist() for name, array in row.items()}).encode()
            for row in self.rows()
        ]

    def json_in_one(self) -> list[bytes]:
        """JSON objects with one array `x`: the only input, or all of them as its second axis."""
        bodies = []
        for row in self.rows():
            arrays = list(row.values())
            x = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)
            bodies.append(json.dumps({"x": x.tolist()}).encode())
        return bodies


def digits(graph: bytes, folder: Path) -> Served:
    """The demo's MLP, as the bytes that a gateway serves; every row of its three slices."""
    path = folder / "digits.onnx"
    path.write_bytes(graph)
    data = load_file(DATA / "digits.safetensors")
    rows = np.concatenate([data[f"x_{part}"] for part in ("test", "calibration", "fit")])
    distinct = np.unique(rows.astype(np.float32), axis=0)
    return Served("digits", path, {"x": np.random.default_rng(0).permutation(distinct)}, 10)


def minilm_folder() -> Path | str:
    """Where the encoder's graphs and rows lie, made if they are not; or why they cannot be."""
    python = ENVIRONMENTS / "workshop" / "bin" / "python"
    if (reason := missing("workshop")) is not None:
        return reason
    folder = Path("build/bench/minilm")
    last = folder / "rows.npz"
    if not last.exists() or last.stat().st_mtime < _MAKER.stat().st_mtime:
        done = subprocess.run([python, _MAKER, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1]
    return folder


def minilm(folder: Path) -> Served:
    """The encoder in static INT8, which answers the same in every batch; sequences of 32."""
    rows = np.load(folder / "rows.npz")
    pairs = np.stack([rows["train_ids"], rows["train_mask"]], axis=1)
    distinct = np.random.default_rng(0).permutation(np.unique(pairs, axis=0))[:_TEXTS]
    inputs = {"input_ids": distinct[:, 0], "attention_mask": distinct[:, 1]}
    return Served("MiniLM INT8", folder / "static.onnx", inputs, 384)


def spam(graph: bytes, data: Path, folder: Path) -> Served:
    """The classifier of e-mails, as the bytes that a gateway serves; those rows of 32 tokens on
    which nothing was fitted.
    """
    path = folder / "spam.onnx"
    path.write_bytes(graph)
    slices = load_file(data)
    rows = np.concatenate([slices[f"x_{part}"] for part in ("test", "calibration")])
    distinct = np.random.default_rng(0).permutation(np.unique(rows, axis=0))[:_TEXTS]
    return Served("MiniLM spam INT8", path, tokens.feeds(distinct), 2)


def missing(environment: str) -> str | None:
    """Why an environment of `make bench NAME=serve` is not there; None where it is."""
    folder = ENVIRONMENTS / environment
    if (folder / "ready").exists():
        return None
    log = folder / "pip.log"
    lines = log.read_text().strip().splitlines() if log.exists() else []
    return f"does not install: {lines[-1][:200]}" if lines else "not installed"


def _message(model: str, row: Mapping[str, Array], receipt: bool) -> bytes:
    request = oip.ModelInferRequest(model_name=model)
    write_inputs(request, [Tensor.of(name, array) for name, array in row.items()])
    if receipt:
        request.parameters["receipt"].bool_param = True
    return request.SerializeToString()
