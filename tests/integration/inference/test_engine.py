"""The engine at work: what is found under which name, what stays warm, and swaps under load."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.backends.local import LocalLoader
from inference.batching.job import RequestOptions
from inference.engine.engine import Engine
from inference.engine.trust_state import RollbackGuardFile
from inference.model.config import Batching
from inference.runtime.settings import CpuSettings
from inference.screening.detector import Verdict
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows, int8_logits
from tests.support.fakes.registry import UncheckedRegistry

MODELS = [Perceptron.random(seed) for seed in range(3)]
FILES = [VersionFiles.of(model) for model in MODELS]
PLACE = ("digits", "production")


def reason(engine: Engine, model: str, number: int | None = None, alias: str | None = None) -> str:
    with pytest.raises(SealgateError) as refused:
        engine.resolve(model, number, alias)
    return refused.value.reason.name


def test_versions_are_found_by_alias_and_by_number(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    first, second, third = (registry.publish(files.encode()) for files in FILES)
    registry.promote(first)
    registry.promote(second, alias="canary", approvers=("anna",))
    update = engine.update(registry, registry)
    assert set(update.loaded) == {PLACE, ("digits", "canary")}
    live = engine.resolve("digits")
    assert (live.version, live.digest, live.sequence) == (1, first.digest, 1)
    assert live.policy == registry.policy.digest
    assert live.config == FILES[0].config
    assert live.threshold == FILES[0].detector.threshold
    assert engine.resolve("digits", 1) is engine.resolve("digits", 1, "production") is live
    assert engine.resolve("digits", 2) is engine.resolve("digits", alias="canary")
    assert engine.live().keys() == {PLACE, ("digits", "canary")}
    assert reason(engine, "iris") == reason(engine, "iris", 1) == "MODEL_UNKNOWN"
    assert reason(engine, "digits", None, "shadow") == "ALIAS_UNKNOWN"
    assert reason(engine, "digits", third.number) == "VERSION_NOT_LIVE"
    assert reason(engine, "digits", 2, "production") == "VERSION_NOT_LIVE"


def test_nothing_is_live_before_the_first_update(engine: Engine) -> None:
    assert engine.policy is None
    assert engine.live() == {}
    assert reason(engine, "digits") == "MODEL_UNKNOWN"


def test_answers_are_screened_and_named(registry: UncheckedRegistry, engine: Engine) -> None:
    registry.promote(registry.publish(FILES[0].encode()))
    engine.update(registry, registry)
    x = clean_rows(MODELS[0], 5)
    live = engine.resolve("digits")
    answer = engine.infer(live, x, RequestOptions(time.monotonic() + 60, active=lambda: True))
    assert answer.outputs.keys() == {"logits"}
    assert np.array_equal(answer.outputs["logits"], int8_logits(MODELS[0], x))
    assert answer.threshold == live.threshold
    assert answer.verdict is FILES[0].detector.verdict(answer.score)
    middle = np.full((1, 8), 0.5, np.float32)
    assert isinstance(engine.infer(live, middle).verdict, Verdict)


@pytest.mark.parametrize(
    ("rows", "deadline", "active", "expected"),
    [
        (17, None, True, Reason.BATCH_TOO_LARGE),
        (1, -1.0, True, Reason.DEADLINE_TOO_SHORT),
        (1, None, False, Reason.DEADLINE_TOO_SHORT),
    ],
)
def test_requests_that_are_not_run(
    registry: UncheckedRegistry,
    engine: Engine,
    rows: int,
    deadline: float | None,
    active: bool,
    expected: Reason,
) -> None:
    registry.promote(registry.publish(FILES[0].encode()))
    engine.update(registry, registry)
    moment = None if deadline is None else time.monotonic() + deadline
    with pytest.raises(SealgateError) as refused:
        engine.infer(
            engine.resolve("digits"),
            clean_rows(MODELS[0], rows),
            RequestOptions(moment, active=lambda: active),
        )
    assert refused.value.reason is expected


def test_a_request_on_its_way_is_answered_by_a_version_that_has_been_let_go(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    registry.promote(registry.publish(FILES[0].encode()))
    engine.update(registry, registry)
    live = engine.resolve("digits")
    for files in FILES[1:]:
        registry.promote(registry.publish(files.encode()))
        engine.update(registry, registry)
    x = clean_rows(MODELS[0], 3)
    assert np.array_equal(engine.infer(live, x).outputs["logits"], int8_logits(MODELS[0], x))
    assert reason(engine, "digits", 1) == "VERSION_NOT_LIVE"


def test_one_alias_that_fails_does_not_hold_up_another(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    registry.promote(registry.publish(FILES[0].with_golden_off_by(1).encode()))
    registry.promote(registry.publish(FILES[1].encode()), alias="canary", approvers=("anna",))
    update = engine.update(registry, registry)
    assert update.loaded == (("digits", "canary"),)
    assert [(item.alias, item.reason) for item in update.rejected] == [
        ("production", Reason.GOLDEN_MISMATCH)
    ]
    assert reason(engine, "digits") == "VERSION_NOT_LIVE"


def test_what_failed_for_a_passing_cause_is_loaded_later(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    registry.promote(registry.publish(FILES[0].encode()))
    files, registry.files = registry.files, {}
    assert engine.update(registry, registry).rejected[0].reason is Reason.FILE_MISSING
    registry.files = files
    assert engine.update(registry, registry).loaded == (PLACE,)


def test_what_cannot_be_remembered_is_not_acted_on(
    registry: UncheckedRegistry, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    seen = RollbackGuardFile.open(folder / "seen.json")
    engine = Engine(registry.anchor, seen, registry.clock, LocalLoader(CpuSettings(1)))
    registry.promote(registry.publish(FILES[0].encode()))
    update = engine.update(registry, registry)
    assert update.refused is not None
    assert update.refused.reason is Reason.INTERNAL
    assert engine.live() == {}


def test_a_closed_engine_refuses(registry: UncheckedRegistry, engine: Engine) -> None:
    registry.promote(registry.publish(FILES[0].encode()))
    engine.update(registry, registry)
    live = engine.resolve("digits")
    assert engine.close(5)
    with pytest.raises(SealgateError) as refused:
        engine.infer(live, clean_rows(MODELS[0], 1))
    assert refused.value.reason is Reason.DRAINING
    update = engine.update(registry, registry)
    assert update.refused is not None
    assert update.refused.reason is Reason.DRAINING


def test_a_full_queue_refuses(registry: UncheckedRegistry, engine: Engine) -> None:
    small = replace(FILES[0].config, batching=Batching(max_rows=2, delay_us=0, queue_rows=2))
    registry.promote(registry.publish(FILES[0].encode(model_json=small.encode())))
    engine.update(registry, registry)
    live = engine.resolve("digits")
    x, outcomes = clean_rows(MODELS[0], 2), Counter[str]()
    barrier = threading.Barrier(16)

    def call(_: int) -> None:
        barrier.wait()
        for _ in range(30):
            try:
                engine.infer(live, x)
                outcomes["answered"] += 1
            except SealgateError as refusal:
                outcomes[refusal.reason.name] += 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(16)))
    assert outcomes.keys() == {"answered", "QUEUE_FULL"}


def test_swaps_under_load_lose_nothing(registry: UncheckedRegistry, engine: Engine) -> None:
    target = registry.promote(registry.publish(FILES[0].encode()))
    second = registry.publish(FILES[1].encode())
    engine.update(registry, registry)
    x = clean_rows(MODELS[0], 16, seed=5)
    expected = {number + 1: int8_logits(MODELS[number], x) for number in range(2)}
    stop = threading.Event()

    def call(number: int) -> Counter[int]:
        answered: Counter[int] = Counter()
        while not stop.is_set():
            live = engine.resolve("digits")
            answer = engine.infer(
                live, x[number : number + 1], RequestOptions(time.monotonic() + 60)
            )
            row = expected[live.version][number]
            assert answer.outputs["logits"].tobytes() == row.tobytes()
            answered[live.version] += 1
        return answered

    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(call, number) for number in range(16)]
        try:
            for _ in range(10):
                registry.promote(second)
                assert engine.update(registry, registry).loaded == (PLACE,)
                registry.roll_back(target)
                assert engine.update(registry, registry).loaded == (PLACE,)
        finally:
            stop.set()
        answered = sum((future.result(60) for future in calls), Counter())
    assert min(answered[1], answered[2]) > 0
    assert engine.resolve("digits").sequence == 21
