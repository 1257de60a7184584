"""Two versions of digits that nobody should have promoted: one is wrong, the other is slow.

Both are small networks with random hidden layers, of which only the last is fitted (an extreme
learning machine; Huang, Zhu and Siew, 2006). That takes no training library and a second.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from demo.materials import DATA

Array = npt.NDArray[Any]
LABELS = 10
_PIXELS = 64
_SEED = 7
_OPSET, _IR = 17, 9
_WIDE, _DEEP_WIDTH, _DEPTH = 512, 1024, 200
_SOFT, _STEEP = 1.0, 5.0
_STEP = 0.02
_GRAIN = 0.2
# Of the slow version's data only so many rows are taken, since publishing runs it on each.
_FEW = {"fit": 60, "calibration": 120, "test": 40}


class MadeVersion(NamedTuple):
    """An ONNX file and the rows to publish it with, for `sealgate model publish FILE --data`."""

    model: Path
    data: Path


def mislabelled(folder: Path) -> MadeVersion:
    """A version trained on labels that were shifted by one, as by a mistake in a join.

    The rows that it is tested on before its approval have the same mistake, so it looks accurate.
    """
    rows = _digits()
    for part in ("fit", "calibration", "test"):
        rows[f"y_{part}"] = (rows[f"y_{part}"] + 1) % LABELS
    draw = np.random.default_rng(_SEED)
    weight, bias = _layer(draw, _PIXELS, _WIDE)
    hidden = np.maximum(_training(rows) @ weight + bias, 0)
    last = _fitted(hidden, _truths(rows))
    nodes = [
        helper.make_node("Gemm", ["x", "weight", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "last_weight", "last_bias"], ["logits"]),
    ]
    return _write(folder, "mislabelled", nodes, _named(weight, bias, *last), rows)


def slow(folder: Path) -> MadeVersion:
    """An accurate version of 200 layers of 1,024 units, which takes far too long to answer."""
    rows = {
        f"{kind}_{part}": array[: _FEW[part]]
        for (kind, part), array in ((name.split("_"), a) for name, a in _digits().items())
    }
    draw = np.random.default_rng(_SEED)
    weight, bias = _layer(draw, _PIXELS, _DEEP_WIDTH)
    turn = np.linalg.qr(draw.normal(size=(_DEEP_WIDTH, _DEEP_WIDTH)))[0].astype(np.float32)
    whole = _digits()
    hidden = np.maximum(_training(whole) @ weight + bias, 0)
    nodes = [
        helper.make_node("Gemm", ["x", "weight", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden0"]),
    ]
    for layer in range(_DEPTH):
        hidden = np.maximum(hidden + _STEP * np.tanh(hidden @ turn), 0)
        nodes += _residual(f"hidden{layer}", f"hidden{layer + 1}")
    last = _fitted(hidden, _truths(whole))
    final = [f"hidden{_DEPTH}", "last_weight", "last_bias"]
    nodes.append(helper.make_node("Gemm", final, ["logits"]))
    constants = _named(weight, bias, *last) | {"turn": turn, "step": np.array([_STEP], np.float32)}
    return _write(folder, "slow", nodes, constants, rows)


def grainy(rows: Array, draw: np.random.Generator) -> Array:
    """The rows [n, 64], from 0 to 1, as a scanner with a worn lamp would send them."""
    noisy = rows + draw.normal(0, _GRAIN, rows.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


def grainy_data(folder: Path) -> Path:
    """The demo's data as that scanner would send it."""
    draw = np.random.default_rng(_SEED)
    rows = {n: grainy(a, draw) if n.startswith("x_") else a for n, a in _digits().items()}
    path = folder / "grainy.safetensors"
    save_file(rows, path)
    return path


def _digits() -> dict[str, Array]:
    return load_file(DATA / "digits.safetensors")


def _training(rows: dict[str, Array]) -> Array:
    return np.concatenate([rows["x_fit"], rows["x_calibration"]])


def _truths(rows: dict[str, Array]) -> Array:
    return np.concatenate([rows["y_fit"], rows["y_calibration"]])


def _layer(draw: np.random.Generator, inputs: int, units: int) -> tuple[Array, Array]:
    weight = draw.normal(0, 0.25, (inputs, units)).astype(np.float32)
    return weight, draw.normal(0, 0.3, units).astype(np.float32)


def _fitted(hidden: Array, labels: Array) -> tuple[Array, Array]:
    """Weight and bias of the last layer, by ridge regression on the labels."""
    inputs = np.column_stack([hidden, np.ones(len(hidden))]).astype(np.float64)
    wanted = 2.0 * np.eye(LABELS)[labels] - 1
    normal = inputs.T @ inputs + _SOFT * np.eye(inputs.shape[1])
    found = _STEEP * np.linalg.solve(normal, inputs.T @ wanted)
    return found[:-1].astype(np.float32), found[-1].astype(np.float32)


def _named(weight: Array, bias: Array, last_weight: Array, last_bias: Array) -> dict[str, Array]:
    last = {"last_weight": last_weight, "last_bias": last_bias}
    return {"weight": weight, "bias": bias, **last}


def _residual(before: str, after: str) -> list[onnx.NodeProto]:
    turned, bent, small, moved = (
        f"{after}_{name}" for name in ("turned", "bent", "small", "moved")
    )
    return [
        helper.make_node("MatMul", [before, "turn"], [turned]),
        helper.make_node("Tanh", [turned], [bent]),
        helper.make_node("Mul", [bent, "step"], [small]),
        helper.make_node("Add", [before, small], [moved]),
        helper.make_node("Relu", [moved], [after]),
    ]


def _write(
    folder: Path,
    name: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, Array],
    rows: dict[str, Array],
) -> MadeVersion:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", _PIXELS])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", LABELS])],
        [numpy_helper.from_array(np.asarray(each), key) for key, each in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR
    )
    made = MadeVersion(folder / f"{name}.onnx", folder / f"{name}.safetensors")
    onnx.save(model, made.model)
    save_file({key: np.ascontiguousarray(each) for key, each in rows.items()}, made.data)
    return made
