"""Answers of a foreign server that are none: each refused with its reason, none handed on."""

import threading
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from inference.engine.version_contents import INT8
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.version_files import clean_rows, int8_logits
from tests.support.fakes.blocking_worker import until
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import FILES, MODEL, PLACE, only, promoted
from tests.support.harness.servers.foreign_servers import SmallServer

ROWS = clean_rows(MODEL, 3, seed=8)
Spoil = Callable[[oip.ModelInferResponse], None]


@pytest.fixture
def ask(registry: UncheckedRegistry, start, small: SmallServer) -> Callable[[Spoil], np.ndarray]:
    """Asks a version that is live for `ROWS`, with its server's answers spoilt."""
    promoted(registry)
    small.deploy("digits", 1, FILES[INT8])
    engine = start(small.address, timeout=60.0)
    engine.update(registry, registry)
    live = engine.resolve("digits")

    def ask(spoil: Spoil) -> np.ndarray:
        small.spoil = spoil
        return engine.infer(live, ROWS).outputs["logits"]

    return ask


def _renamed(response: oip.ModelInferResponse) -> None:
    response.outputs[0].name = "probabilities"


def _retyped(response: oip.ModelInferResponse) -> None:
    response.outputs[0].datatype = "FP64"


def _reshaped(response: oip.ModelInferResponse) -> None:
    response.outputs[0].shape[:] = reversed(response.outputs[0].shape)


def _one_row_short(response: oip.ModelInferResponse) -> None:
    response.outputs[0].shape[0] -= 1
    response.raw_output_contents[0] = response.raw_output_contents[0][: -4 * MODEL.classes]


def _cut(response: oip.ModelInferResponse) -> None:
    response.raw_output_contents[0] = response.raw_output_contents[0][:-1]


def _not_a_number(response: oip.ModelInferResponse) -> None:
    nan = np.array([np.nan], "<f4").tobytes()
    response.raw_output_contents[0] = nan + response.raw_output_contents[0][4:]


def _infinite(response: oip.ModelInferResponse) -> None:
    infinity = np.array([np.inf], "<f4").tobytes()
    response.raw_output_contents[0] = infinity + response.raw_output_contents[0][4:]


def _without_contents(response: oip.ModelInferResponse) -> None:
    del response.raw_output_contents[:]


def _too_many_contents(response: oip.ModelInferResponse) -> None:
    response.raw_output_contents.append(b"")


def _twice(response: oip.ModelInferResponse) -> None:
    response.outputs.append(response.outputs[0])
    response.raw_output_contents.append(response.raw_output_contents[0])


def _empty(response: oip.ModelInferResponse) -> None:
    response.Clear()


def _of_another_model(response: oip.ModelInferResponse) -> None:
    response.model_name = "breast-cancer"


def _of_another_version(response: oip.ModelInferResponse) -> None:
    response.model_version = "2"


@pytest.mark.parametrize(
    "spoil",
    [
        _renamed,
        _retyped,
        _reshaped,
        _one_row_short,
        _cut,
        _not_a_number,
        _infinite,
        _without_contents,
        _too_many_contents,
        _twice,
        _empty,
        _of_another_model,
        _of_another_version,
    ],
)
def test_an_answer_of_another_form_is_refused(ask, spoil: Spoil) -> None:
    with pytest.raises(SealgateError) as refused:
        ask(spoil)
    assert refused.value.reason is Reason.ANSWER_MALFORMED
    assert ask(lambda response: None).shape == (3, MODEL.classes)


def test_numbers_a_little_off_are_refused(ask) -> None:
    def shift(response: oip.ModelInferResponse) -> None:
        logits = np.frombuffer(response.raw_output_contents[0], "<f4") + np.float32(0.01)
        response.raw_output_contents[0] = logits.tobytes()

    with pytest.raises(SealgateError) as refused:
        ask(shift)
    assert refused.value.reason is Reason.GOLDEN_MISMATCH


def test_typed_contents_and_further_outputs_are_read(ask) -> None:
    def rewrite(response: oip.ModelInferResponse) -> None:
        logits = np.frombuffer(response.raw_output_contents[0], "<f4")
        response.outputs[0].contents.fp32_contents.extend(logits.tolist())
        del response.raw_output_contents[:]
        response.outputs.add(name="classes", datatype="INT64", shape=[1])
        response.outputs[1].contents.int64_contents.append(3)

    assert np.allclose(ask(rewrite), int8_logits(MODEL, ROWS), atol=1e-5)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
    ],
)
def test_whatever_it_refuses_for_the_caller_hears_one_reason(
    ask, small: SmallServer, code: grpc.StatusCode
) -> None:
    small.refuse_with = code
    with pytest.raises(SealgateError) as refused:
        ask(lambda response: None)
    assert refused.value.reason is Reason.ENGINE_UNAVAILABLE


def test_a_server_that_hangs_is_given_up(
    registry: UncheckedRegistry, start, small: SmallServer
) -> None:
    promoted(registry)
    small.deploy("digits", 1, FILES[INT8])
    engine = start(small.address, timeout=2.0)
    # On a loaded machine, two seconds may be too few to load it at once.
    until(lambda: PLACE in engine.update(registry, registry).loaded)
    over = threading.Event()
    small.spoil = lambda response: over.wait(60) or None
    try:
        with pytest.raises(SealgateError) as refused:
            engine.infer(engine.resolve("digits"), ROWS)
        assert refused.value.reason is Reason.ENGINE_UNAVAILABLE
    finally:
        over.set()


def test_a_server_that_refuses_at_load_is_not_believed(
    registry: UncheckedRegistry, start, small: SmallServer
) -> None:
    promoted(registry)
    small.deploy("digits", 1, FILES[INT8])
    small.spoil = _not_a_number
    engine = start(small.address)
    assert only(engine.update(registry, registry)) is Reason.ANSWER_MALFORMED
    small.spoil = lambda response: None
    small.refuse_with = grpc.StatusCode.UNAVAILABLE
    assert only(engine.update(registry, registry)) is Reason.ENGINE_UNAVAILABLE
