"""The subjects of the sessions' benchmark: demo models with detectors, and Fashion-MNIST."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from safetensors.numpy import load_file

from gateway.sessions.fingerprints import Fingerprinter
from gateway.sessions.query_attack_detection import image_payoff, verdict_payoff
from gateway.sessions.session_screen import measured_alike
from inference.model.config import InputDomain, ModelConfig
from inference.runtime import response_contract
from inference.runtime.graph_rewrites import with_gradient
from inference.screening.detector import Detector
from publishing.attacks.probe import Probe
from publishing.calibration.detector_fit import fit_detector
from sealgate.reasons import SealgateError
from training.recipe.recipe import FASHION, SliceSizes
from training.run import sources

ROOT = Path(__file__).parents[1] / "demo"
Rows = npt.NDArray[np.float32]


@dataclass(slots=True)
class Guarded:
    """A model with its detector: what a gateway knows of each row."""

    probe: Probe
    detector: Detector
    printer: Fingerprinter
    alike: bool
    """See `Fingerprinter.of`."""

    def judge(self, rows: Rows) -> list[tuple[int, str, float]]:
        """The class, the verdict, and the verdict's payoff of each row."""
        return self.judge_all(rows)[1]

    def judge_all(self, rows: Rows) -> tuple[Rows, list[tuple[int, str, float]]]:
        """The logits [n, C] beside these."""
        logits, features = self.probe.measure(rows)
        verdicts = [self.detector.verdict(score).value for score in self.detector.scores(features)]
        promised = self.detector.calibration
        chances = promised.surely(promised.adversarial), promised.surely(promised.suspect)
        return logits, [
            (int(label), verdict, self._payoff(verdict, chances))
            for label, verdict in zip(logits.argmax(axis=1), verdicts, strict=True)
        ]

    def _payoff(self, verdict: str, chances: tuple[float, float]) -> float:
        return image_payoff(verdict, 1) if self.alike else verdict_payoff(verdict, *chances)


@dataclass(slots=True)
class WatchedModel:
    """A model and its test rows `x` [n, d] with classes `y`; `right` are those it tells right."""

    guarded: Guarded
    x: Rows
    y: npt.NDArray[np.int64]
    right: npt.NDArray[np.intp]


def load(name: str, eps: float) -> WatchedModel:
    """A demo model with a detector fitted on its slices; `eps` is the detector's own step."""
    data = load_file(ROOT / "data" / f"{name}.safetensors")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = ROOT / "models" / f"{name}-1" / "response.onnx"
    shown = with_gradient(graph.read_bytes(), response_contract.X_ADV, response_contract.GRADIENT)
    session = onnxruntime.InferenceSession(shown, options, ["CPUExecutionProvider"])
    slices = [data[f"x_{part}"].astype(np.float32) for part in ("fit", "calibration", "test")]
    domain, draw = InputDomain(0, 1), np.random.default_rng(0)
    detector = fit_detector(session, slices[0], slices[1], domain, eps, draw)
    config = ModelConfig.decode((graph.parent / "model.json").read_bytes())
    printer = Fingerprinter(b"k" * 32, name)
    guarded = Guarded(Probe(session, eps, domain), detector, printer, measured_alike(config))
    right = np.flatnonzero(guarded.probe.answers(slices[2]) == data["y_test"])
    return WatchedModel(guarded, slices[2], data["y_test"], right)


def fashion_rows(number: int) -> tuple[Rows, npt.NDArray[np.int64]] | None:
    """Rows [n, 784] and classes of Fashion-MNIST, where Debian's package is installed."""
    try:
        found = sources.read_rows(SliceSizes(FASHION, train=1, fit=1, calibration=1), None)
    except SealgateError:
        return None
    return found.x[:number].reshape(number, -1), found.y[:number]
