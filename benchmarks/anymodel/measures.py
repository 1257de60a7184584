"""What is measured of a ready model: its gradient beside torch's, and attacks that see labels."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import torch
from art.attacks.evasion import HopSkipJump, ZooAttack
from art.estimators.classification import BlackBoxClassifier
from onnx import TensorProto, helper

from benchmarks.anymodel.subjects import ReadyModel
from inference.engine import version_contents
from inference.model.config import ModelConfig
from inference.model.row_rules import RowRules
from inference.runtime.session import Session
from inference.screening.detector import Detector
from publishing.calibration.relative_probe import UnitRows, number_probe
from publishing.calibration.screening_report import auroc
from publishing.differentiate.backward import gradient
from publishing.differentiate.emitter import Emitter
from publishing.differentiate.measured import MeasuredGraph
from publishing.worker_tasks.forward import ResponseGraph

Floats = npt.NDArray[np.float32]
_ROWS, _VICTIMS, _LEAST = 64, 40, 5


def gradient_error(model: ReadyModel) -> float | None:
    """The largest difference of the gradient of a random sum of the answer to torch's, by the
    largest element; None of what is not torch's.
    """
    if model.module is None:
        return None
    x = model.x[:_ROWS]
    proto = onnx.load_model_from_string(model.onnx)
    graph = MeasuredGraph.of(proto, "image", x)
    e = Emitter("back")
    name = gradient(e, graph, "scores", "seed")
    proto.graph.node.extend(e.nodes)
    proto.graph.initializer.extend(e.initializers)
    proto.graph.input.append(helper.make_tensor_value_info("seed", TensorProto.FLOAT, None))
    proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    seed = np.random.default_rng(0).standard_normal((len(x), 10)).astype(np.float32)
    (found,) = Session.open(proto.SerializeToString(), [name]).run({"image": x, "seed": seed})
    given = torch.from_numpy(x).requires_grad_(True)
    (model.module(given) * torch.from_numpy(seed)).sum().backward()
    assert given.grad is not None  # noqa: S101
    expected = given.grad.numpy()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def label_attacks(files: Mapping[str, bytes], x: Floats) -> dict[str, dict[str, float]]:
    """HopSkipJump and ZOO on rows x [n, D] of a version of a table, by what a caller can send."""
    config = ModelConfig.decode(files[version_contents.MODEL])
    detector = Detector.decode(files[version_contents.DETECTOR])
    probe = number_probe(ResponseGraph.of(files[version_contents.RESPONSE]), config)
    rules = config.table
    assert rules is not None  # noqa: S101
    units, clean = UnitRows.of(rules), detector.scores(_features(probe, detector, x))
    victims, found = x[:_VICTIMS], {}
    own = probe.answers(victims)

    def scores(u: Floats) -> Floats:
        logits, _ = probe.measure(units.to_rows(np.asarray(u, np.float32)))
        return logits

    shape, classes = (x.shape[1],), len(config.labels)
    target = BlackBoxClassifier(scores, shape, classes, clip_values=(0.0, 1.0))
    for name, made in _attacks(target, units.of_rows(victims)):
        moved = _sendable(rules, victims, units.to_rows(made))
        turned = probe.answers(moved) != own
        found[name] = {"succeeded": float(turned.mean())}
        if turned.sum() >= _LEAST:
            caught = detector.scores(_features(probe, detector, moved[turned]))
            flagged = float((caught > detector.threshold).mean())
            found[name] |= {"auroc": auroc(clean, caught), "flagged": round(flagged, 4)}
    return found


def _sendable(rules: RowRules, before: Floats, after: Floats) -> Floats:
    return rules.beyond(before, after)


def _features(probe: object, detector: Detector, x: Floats) -> Floats:
    features: Floats = probe.measure(x)[1]  # type: ignore[attr-defined]
    return features


def _attacks(target: BlackBoxClassifier, u: Floats) -> list[tuple[str, Floats]]:
    # The toolbox draws from it.
    np.random.seed(0)
    jump = HopSkipJump(target, max_iter=10, max_eval=500, init_eval=20, verbose=False)
    zoo = ZooAttack(
        target,
        max_iter=40,
        learning_rate=0.05,
        nb_parallel=u.shape[1],
        use_resize=False,
        use_importance=False,
        binary_search_steps=3,
        variable_h=0.05,
        verbose=False,
    )
    return [("hopskipjump", jump.generate(u)), ("zoo", zoo.generate(u))]
