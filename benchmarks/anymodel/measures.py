"""Measures a ready model: its gradient beside torch's, and attacks without gradients."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import torch
from art.attacks.evasion import HopSkipJump, ZooAttack
from art.estimators.classification import BlackBoxClassifier
from onnx import TensorProto, helper

from benchmarks.anymodel.leaf_search import LeafSearch, Sureness, thresholds
from benchmarks.anymodel.subjects import ReadyModel
from inference.engine import version_contents
from inference.model.columns import RowRules
from inference.model.config import ModelConfig
from inference.model.decisions import Decision, Numbers
from inference.runtime.session import Session
from inference.screening.detector import Detector
from publishing.attacks.probe import Prober
from publishing.attacks.relative_probe import UnitRows, number_probe
from publishing.calibration.screening_report import auroc
from publishing.differentiate.backward import gradient
from publishing.differentiate.graphs import Emitter, MeasuredGraph
from publishing.worker_tasks.forward import ResponseGraph, ServingGraph

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


def query_attacks(files: Mapping[str, bytes], x: Floats) -> dict[str, dict[str, float]]:
    """HopSkipJump and ZOO on rows x [n, D] of a version of a table that answers classes, by what a
    caller can send.
    """
    judge = _Judge.of(files)
    victims, units = x[:_VICTIMS], UnitRows.of(judge.rules)

    def scores(u: Floats) -> Floats:
        return judge.graph.logits(units.to_rows(np.asarray(u, np.float32)))

    shape, classes = (x.shape[1],), len(judge.config.labels)
    target = BlackBoxClassifier(scores, shape, classes, clip_values=(0.0, 1.0))
    made = dict(_attacks(target, units.of_rows(victims)))
    moved = {name: judge.rules.beyond(victims, units.to_rows(u)) for name, u in made.items()}
    return judge.judged(x, moved)


def leaf_search(files: Mapping[str, bytes], x: Floats) -> dict[str, dict[str, float]]:
    """The search over leaves on rows x [n, D] of a version of a table that has trees."""
    judge, victims = _Judge.of(files), x[:_VICTIMS]
    search = LeafSearch(thresholds(files[version_contents.INT8]), judge.rules)
    own = judge.graph.logits(victims)
    moved = [
        search.attacked(row, judge.sureness(answer))
        for row, answer in zip(victims, own, strict=True)
    ]
    return judge.judged(x, {"leaf-search": np.stack(moved)})


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    """Answers and screens rows of a version of a table."""

    config: ModelConfig
    rules: RowRules
    graph: ServingGraph
    detector: Detector
    probe: Prober

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> "_Judge":
        config = ModelConfig.decode(files[version_contents.MODEL])
        assert config.table is not None  # noqa: S101
        probe = number_probe(ResponseGraph.of(files[version_contents.RESPONSE]), config)
        detector = Detector.decode(files[version_contents.DETECTOR])
        graph = ServingGraph.of(files[version_contents.INT8], config)
        return cls(config, config.table, graph, detector, probe)

    @property
    def decision(self) -> Decision:
        return self.config.decision

    def sureness(self, own: Floats) -> Sureness:
        """Of the answer `own` [C]: its lead over the next class, or how much further the prediction
        may move, in tolerances.
        """
        if isinstance(self.decision, Numbers):
            tolerance = np.array(self.decision.tolerance)
            return lambda rows: 1 - (np.abs(self.graph.logits(rows) - own) / tolerance).max(axis=1)
        label = int(own.argmax())

        def lead(rows: Floats) -> npt.NDArray[np.float64]:
            scores = self.graph.logits(rows).astype(np.float64)
            return scores[:, label] - np.delete(scores, label, axis=1).max(axis=1)

        return lead

    def judged(self, x: Floats, made: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
        """How often what was made of the first rows x changed the answer, and was caught."""
        clean, found = self.detector.scores(self.probe.measure(x)[1]), {}
        for name, moved in made.items():
            before = self.graph.logits(x[: len(moved)])
            turned = self.decision.changed(before, self.graph.logits(moved))
            found[name] = {"succeeded": float(turned.mean())}
            if turned.sum() >= _LEAST:
                scores = self.detector.scores(self.probe.measure(moved[turned])[1])
                found[name] |= {
                    "auroc": auroc(clean, scores),
                    "flagged": _share(scores > self.detector.threshold),
                    "at_least_suspect": _share(scores > self.detector.suspect_threshold),
                }
        return found


def _share(chosen: npt.NDArray[np.bool_]) -> float:
    return round(float(chosen.mean()), 4)


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
