"""A version that runs in a foreign server: a real MLServer, and a small one, keep the promises."""

import logging
import threading
import time

import numpy as np
import pytest

from inference.engine.version_contents import INT8
from inference.screening.detector import Verdict
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.version_files import clean_rows, int8_logits
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import BETTER, FILES, MODEL, PLACE, only, promoted
from tests.support.harness.servers.foreign_servers import ForeignServer, SmallServer

ROWS = clean_rows(MODEL, 5, seed=8)


def test_it_answers_as_the_signed_model_does(
    registry: UncheckedRegistry, start, foreign: ForeignServer, caplog: pytest.LogCaptureFixture
) -> None:
    promoted(registry)
    foreign.deploy("digits", 1, FILES[INT8])
    engine = start(foreign.address)
    with caplog.at_level(logging.WARNING):
        update = engine.update(registry, registry)
    assert (update.loaded, update.rejected) == ((PLACE,), ())
    assert "digest not checked there" in caplog.text
    live = engine.resolve("digits")
    assert live.ready.engine == 'foreign "theirs", digest not checked there'
    assert live.ready.arithmetic == ""
    answer = engine.infer(live, ROWS)
    assert np.allclose(answer.outputs["logits"], int8_logits(MODEL, ROWS), atol=1e-5)
    assert answer.features.shape[0] == len(ROWS)
    assert np.isfinite(answer.score)
    full = clean_rows(MODEL, live.config.batching.max_rows)
    logits = engine.infer(live, full).outputs["logits"]
    assert np.allclose(logits, int8_logits(MODEL, full), atol=1e-5)


def test_what_is_screened_here_is_screened_as_ever(
    registry: UncheckedRegistry, start, foreign: ForeignServer
) -> None:
    promoted(registry)
    foreign.deploy("digits", 1, FILES[INT8])
    engine = start(foreign.address)
    engine.update(registry, registry)
    live = engine.resolve("digits")
    margins = np.abs(
        np.diff(np.sort(MODEL.logits(clean_rows(MODEL, 4000)), axis=1)[:, -2:])
    ).ravel()
    close = clean_rows(MODEL, 4000)[margins.argmin()][None]
    assert engine.infer(live, close).verdict is Verdict.ADVERSARIAL


def test_another_model_over_there_is_not_loaded(
    registry: UncheckedRegistry, start, foreign: ForeignServer
) -> None:
    promoted(registry)
    foreign.deploy("digits", 1, BETTER[INT8])
    engine = start(foreign.address)
    assert only(engine.update(registry, registry)) is Reason.GOLDEN_MISMATCH
    with pytest.raises(SealgateError) as refused:
        engine.resolve("digits")
    assert refused.value.reason is Reason.VERSION_NOT_LIVE


def test_a_server_without_the_version_is_asked_again_until_it_has_it(
    registry: UncheckedRegistry, start, foreign: ForeignServer
) -> None:
    promoted(registry)
    foreign.deploy("digits", 2, FILES[INT8])
    engine = start(foreign.address)
    assert only(engine.update(registry, registry)) is Reason.ENGINE_UNAVAILABLE
    foreign.deploy("digits", 1, FILES[INT8])
    assert _loads(engine, registry)


def _loads(engine, registry: UncheckedRegistry) -> bool:
    """Whether it comes to load, once the connection is made anew."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if engine.update(registry, registry).loaded == (PLACE,):
            return True
        threading.Event().wait(0.2)
    return False


def test_a_model_exchanged_later_is_found_out(
    registry: UncheckedRegistry, start, small: SmallServer
) -> None:
    promoted(registry)
    small.deploy("digits", 1, FILES[INT8])
    engine = start(small.address)
    engine.update(registry, registry)
    live = engine.resolve("digits")
    small.deploy("digits", 1, BETTER[INT8])
    assert refusal(engine, live) is Reason.GOLDEN_MISMATCH
    small.deploy("digits", 1, FILES[INT8])
    assert engine.infer(live, ROWS).outputs["logits"].shape == (5, MODEL.classes)


def test_a_server_that_goes_away_is_unavailable(
    registry: UncheckedRegistry, start, small: SmallServer
) -> None:
    promoted(registry)
    small.deploy("digits", 1, FILES[INT8])
    engine = start(small.address)
    engine.update(registry, registry)
    live = engine.resolve("digits")
    small.stop()
    assert refusal(engine, live) is Reason.ENGINE_UNAVAILABLE


def test_a_name_of_their_own_for_a_version(
    registry: UncheckedRegistry, start, small: SmallServer
) -> None:
    promoted(registry)
    small.deploy("theirs-digits-v1", 7, FILES[INT8])
    engine = start(small.address, model="theirs-{model}-v{version}", version="7")
    assert engine.update(registry, registry).loaded == (PLACE,)


def refusal(engine, live) -> Reason:
    with pytest.raises(SealgateError) as refused:
        engine.infer(live, ROWS)
    return refused.value.reason
