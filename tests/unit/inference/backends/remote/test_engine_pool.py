"""Several engines as one: who is asked next, what is followed, and what an entry says of it."""

from collections.abc import Mapping
from typing import Any

import pytest

from inference.backends.remote.engine_pool import EnginePool
from inference.backends.remote.placement import MeasuredEngine
from inference.batching.cost_model import BatchCosts
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import SEPARATE
from tests.support.builders.documents.people import refused

DIGEST = "sha256:" + "a" * 64
REQUEST = oip.ModelInferRequest()


class FakeEngine:
    """An engine that answers, or refuses with `reason`."""

    def __init__(self, name: str, seconds: float, place: str = "cpu") -> None:
        self.name = name
        self.behind = False
        self.reason: Reason | None = None
        self.against: Reason | None = None
        self.measured: Mapping[str, MeasuredEngine] = {
            DIGEST: MeasuredEngine(BatchCosts(((1, seconds),)), place),
        }
        self.asked = 0

    def infer(self, request: oip.ModelInferRequest, deadline: float | None) -> Any:
        self.asked += 1
        if self.reason is not None:
            raise SealgateError(self.reason, self.name)
        return oip.ModelInferResponse(id=self.name)

    def check_follows(self, pointer: Any, digest: str) -> None:
        if self.against is not None:
            raise SealgateError(self.against, self.name)

    def show(self, snapshot: Any, source: Any) -> None:
        pass

    def refused(self) -> dict[Any, SealgateError]:
        return {}

    def counts(self) -> Any:
        if self.reason is not None:
            raise SealgateError(self.reason)
        return self.name

    def close(self) -> None:
        pass


@pytest.fixture
def fast() -> FakeEngine:
    return FakeEngine("fast", 1.0)


@pytest.fixture
def slow() -> FakeEngine:
    return FakeEngine("slow", 3.0, "openvino")


@pytest.fixture
def pool(fast: FakeEngine, slow: FakeEngine) -> EnginePool:
    return EnginePool([slow, fast])  # type: ignore[list-item]


def heard(pool: EnginePool) -> tuple[str, str]:
    response, engine = pool.ask(DIGEST, 1, REQUEST, None)
    return response.id, engine


def test_the_entry_says_who_answered(pool: EnginePool) -> None:
    assert heard(pool) == ("fast", f"{SEPARATE}; fast on cpu")
    told = f"{SEPARATE}; up to 2 asked: slow on openvino, fast on cpu"
    assert pool.engine(DIGEST) == told


def test_one_engine_on_the_processor_needs_no_words(fast: FakeEngine, slow: FakeEngine) -> None:
    alone = EnginePool([fast])  # type: ignore[list-item]
    assert alone.engine(DIGEST) == SEPARATE
    assert heard(alone) == ("fast", SEPARATE)
    other = EnginePool([slow])  # type: ignore[list-item]
    assert other.engine(DIGEST) == f"{SEPARATE}; slow on openvino"


def test_who_is_away_is_left_out_and_comes_back(pool: EnginePool, fast: FakeEngine) -> None:
    fast.reason, fast.behind = Reason.ENGINE_UNAVAILABLE, True
    assert heard(pool) == ("slow", f"{SEPARATE}; slow on openvino")
    assert fast.asked == 0
    assert pool.behind
    fast.reason, fast.behind = None, False
    assert heard(pool)[0] == "fast"


def test_what_one_does_not_answer_another_does(pool: EnginePool, fast: FakeEngine) -> None:
    fast.reason = Reason.ENGINE_UNAVAILABLE
    assert heard(pool) == ("slow", f"{SEPARATE}; 2 asked: slow on openvino")


def test_a_full_queue_has_run_nothing(pool: EnginePool, fast: FakeEngine, slow: FakeEngine) -> None:
    fast.reason = Reason.QUEUE_FULL
    assert heard(pool) == ("slow", f"{SEPARATE}; slow on openvino")
    slow.reason = Reason.ENGINE_UNAVAILABLE
    with refused(Reason.QUEUE_FULL):
        pool.ask(DIGEST, 1, REQUEST, None)


@pytest.mark.parametrize(
    "reason", [Reason.DEADLINE_TOO_SHORT, Reason.VERSION_REVOKED, Reason.RUN_HUNG]
)
def test_what_no_other_would_answer_better(
    pool: EnginePool, fast: FakeEngine, slow: FakeEngine, reason: Reason
) -> None:
    fast.reason = reason
    with refused(reason):
        pool.ask(DIGEST, 1, REQUEST, None)
    assert slow.asked == 0


def test_nobody_is_there(pool: EnginePool, fast: FakeEngine, slow: FakeEngine) -> None:
    fast.reason = slow.reason = Reason.ENGINE_UNAVAILABLE
    with refused(Reason.ENGINE_UNAVAILABLE):
        pool.ask(DIGEST, 1, REQUEST, None)
    assert (fast.asked, slow.asked) == (1, 1)


class Cleared:
    """A pointer, as far as `load` looks at it before it reads a version."""

    pointer = pointer_digest = None


class Reached(Exception):
    """`load` went on to the version."""


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (Reason.VERSION_ALTERED, None, Reason.VERSION_ALTERED),
        (Reason.ENGINE_UNAVAILABLE, Reason.APPROVALS_MISSING, Reason.APPROVALS_MISSING),
        (Reason.ENGINE_UNAVAILABLE, Reason.ENGINE_UNAVAILABLE, Reason.ENGINE_UNAVAILABLE),
        (Reason.GOLDEN_MISMATCH, Reason.ENGINE_UNSUITABLE, Reason.ENGINE_UNSUITABLE),
    ],
)
def test_what_is_not_followed(
    pool: EnginePool,
    fast: FakeEngine,
    slow: FakeEngine,
    one: Reason,
    other: Reason | None,
    reason: Reason,
) -> None:
    fast.against, slow.against = one, other
    with refused(reason):
        pool.load(Cleared(), None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reason",
    [Reason.ENGINE_UNAVAILABLE, Reason.ENGINE_UNSUITABLE, Reason.GOLDEN_MISMATCH],
)
def test_one_that_cannot_run_it_keeps_no_other_from_it(
    pool: EnginePool, fast: FakeEngine, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise Reached

    monkeypatch.setattr("inference.backends.remote.engine_pool.VersionTerms.read", read)
    monkeypatch.setattr(Cleared, "manifest", None, raising=False)
    fast.against = reason
    with pytest.raises(Reached):
        pool.load(Cleared(), None, None)  # type: ignore[arg-type]


def test_the_counts_of_those_who_are_there(
    pool: EnginePool, fast: FakeEngine, slow: FakeEngine
) -> None:
    assert pool.counts() == ["slow", "fast"]
    fast.reason, slow.behind = Reason.ENGINE_UNAVAILABLE, True
    assert pool.counts() == []
