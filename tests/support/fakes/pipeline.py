"""The path of a request in front of an engine of its own, whose version has two stages."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np

from demo.questions import question
from gateway.calls.call import RecordedRefusal
from gateway.pipeline.enforcement import EnforcedAnswer, Enforcement
from gateway.pipeline.infer import InferencePipeline
from gateway.pipeline.observation import Observation
from gateway.recording.burst import PreparedRecord
from gateway.recording.recorder import AuditRecord
from gateway.sessions.session_screen import SessionFinding
from inference.batching.job import RequestOptions
from inference.batching.limits import Pace
from inference.engine.result import InferenceResult
from inference.engine.statistics import Statistics
from inference.screening.detector import Verdict
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules
from tests.support.builders.documents.people import make_policy
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.two_stages import two_stage_files
from tests.support.builders.models.version_files import VersionFiles

MODEL = Perceptron.random()
CONFIG = VersionFiles.of(MODEL).config
STAGED = two_stage_files(MODEL, -0.5)[1]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FIRST, GRAPH = 0.005, 0.25
"""How many seconds each stage takes."""
PASSES, GOES_ON = (np.full((1, *CONFIG.input.row), value, np.float32) for value in (0.25, 0.75))


class Separate:
    """An engine of its own, which is asked by a call that ends with the time it is given."""

    def __init__(self) -> None:
        self.asked = 0

    def infer_all(
        self, live: Any, requests: list[tuple[np.ndarray, RequestOptions]]
    ) -> list[InferenceResult | SealgateError]:
        found: list[InferenceResult | SealgateError] = []
        for request in requests:
            try:
                found.append(self.infer(live, *request))
            except SealgateError as refusal:
                found.append(refusal)
        return found

    def infer(self, live: Any, x: np.ndarray, options: RequestOptions) -> InferenceResult:
        if not (options.active and options.active()):
            raise SealgateError(Reason.DEADLINE_TOO_SHORT, "before its run")
        self.asked += 1
        on = bool(x[0, 0] > 0.5)
        took, left = GRAPH if on else FIRST, (options.deadline or 0.0) - time.monotonic()
        time.sleep(min(took, left))
        if left < took:
            raise SealgateError(Reason.DEADLINE_TOO_SHORT, "the call was cut")
        logits = {CONFIG.output.name: np.zeros((1, *CONFIG.output.row), np.float32)}
        features = np.zeros((1, STAGED.width), np.float32)
        return InferenceResult(logits, features, 0.0, Verdict.CLEAN, 1.0, graph_rows=int(on))

    def resolve(self, *asked: Any) -> Any:
        return SimpleNamespace(
            model=CONFIG.name,
            alias="production",
            version=1,
            digest="sha256:1",
            sequence=1,
            policy="",
            config=CONFIG,
            statistics=Statistics(),
            ready=SimpleNamespace(
                detector=STAGED, engine="separate", arithmetic="int8", pace=Pace.AWAY
            ),
        )


class Spy:
    """Sessions and drift, which only remember the rows that they are shown."""

    def __init__(self) -> None:
        self.rows: list[float] = []
        self.bound_holds: list[bool] = []
        self.drift = 0
        self.withdrawal = ""

    def observe(
        self, rules: Any, caller: str, live: Any, requests: Any, holds: bool, withheld: Any
    ) -> SessionFinding:
        self.rows += [float(row[0, 0]) for row, _ in requests]
        self.bound_holds.append(holds)
        return SessionFinding()

    def prints(self, rules: Any, live: Any, requests: list[np.ndarray]) -> list[np.ndarray]:
        return requests

    def observe_all(self, live: Any, answers: list[InferenceResult], callers: list[str]) -> None:
        self.drift += len(answers)

    def withdrawn(self, digest: str) -> str:
        return self.withdrawal


class Call:
    method = "/inference.GRPCInferenceService/ModelInfer"
    principal = SimpleNamespace(name="client", roles=("client",))

    def time_remaining(self) -> float | None:
        return None

    def is_active(self) -> bool:
        return True


class FreeEnforcement(Enforcement):
    """Delays answers by the policy, and withholds none."""

    def __init__(self, engine: Any, policy: Any) -> None:
        rights: Any = SimpleNamespace(check=lambda *asked: None)
        unused: Any = None
        super().__init__(engine, lambda: policy, rights, unused, lambda *_: False)

    def decide(self, *asked: Any) -> EnforcedAnswer:
        return EnforcedAnswer(labels_only=False, allowance="")


class PipelineHarness:
    """The path of a request, in front of such an engine; `recorded` is what entries would say."""

    def __init__(self, screen: ScreeningRules) -> None:
        policy = make_policy(screens=ScreeningPolicy({CONFIG.name: screen}))
        self.engine, self.spy = Separate(), Spy()
        self.recorded: list[AuditRecord] = []
        features: Any = SimpleNamespace(keep=lambda *kept: None)
        self.enforcement = FreeEnforcement(self.engine, policy)
        self.predict = InferencePipeline(
            self.engine,
            SimpleNamespace(record_burst=self._record, is_erasing=lambda subject: False),
            self.enforcement,
            Observation(self.spy, self.spy, features),
            SimpleNamespace(
                select_version=lambda live, *asked: live,
                alias_health=SimpleNamespace(ran=lambda *told: None),
                answered=lambda *told: None,
            ),
            lambda: NOON,
            longest=60.0,
        )

    def _record(self, records: list[PreparedRecord]) -> list[Any]:
        self.recorded += [AuditRecord.of(record, NOON) for record in records]
        return [SimpleNamespace(receipt=lambda: b"{}") for _ in records]

    def ask(self, row: np.ndarray, timeout: int | None = None) -> tuple[str, float]:
        """The outcome, and how many seconds it took."""
        request = question(CONFIG.name, row)
        if timeout is not None:
            request.parameters["timeout"].int64_param = timeout
        began = time.monotonic()
        try:
            self.predict(request, Call())
        except RecordedRefusal as refusal:
            return refusal.reason.name, time.monotonic() - began
        return "answered", time.monotonic() - began
