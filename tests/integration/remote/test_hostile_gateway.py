"""An engine answers every malformed call with a reason and continues."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.server.config import EngineLimits
from inference.server.load_request import PARTS
from inference.server.server import ALLOWED, SERVICES
from inference.server.services import write_load
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Kind, Reason
from sealgate.remote import reason_of
from tests.support.builders.models.version_files import clean_rows
from tests.support.fakes.blocking_worker import until
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine import EngineHarness, engine_harness
from tests.support.harness.engine_outcomes import FILES, MODEL, resolved
from tests.support.harness.gateway import refusal

METHODS = [
    (f"/{service.full_name}/{method.name}", method)
    for service in SERVICES
    for method in service.methods
]


@pytest.fixture
def ready(harness: EngineHarness) -> EngineHarness:
    harness.registry.promote(harness.publish(FILES))
    harness.show()
    return harness


def load(harness: EngineHarness) -> oip.RepositoryModelLoadRequest:
    return write_load(harness.load())


def test_a_load_needs_each_of_its_parameters(ready: EngineHarness) -> None:
    for name in PARTS:
        request = load(ready)
        del request.parameters[name]
        assert refusal(ready.stub.RepositoryModelLoad, request) is Reason.PARAMETER_MALFORMED
    request = load(ready)
    del request.parameters["alias"]
    assert refusal(ready.stub.RepositoryModelLoad, request) is Reason.NAME_MALFORMED


def test_parameters_of_another_name_or_type(ready: EngineHarness) -> None:
    request = load(ready)
    request.parameters["config"].bytes_param = b"{}"
    assert refusal(ready.stub.RepositoryModelLoad, request) is Reason.PARAMETER_MALFORMED
    request = load(ready)
    request.parameters["pointer"].string_param = "pointer"
    assert refusal(ready.stub.RepositoryModelLoad, request) is Reason.PARAMETER_MALFORMED
    request = load(ready)
    request.parameters["manifest"].Clear()
    assert refusal(ready.stub.RepositoryModelLoad, request) is Reason.PARAMETER_MALFORMED
    request = load(ready)
    request.repository_name = "elsewhere"
    assert refusal(ready.stub.RepositoryModelLoad, request) is Reason.PARAMETER_MALFORMED
    request = load(ready)
    request.model_name = "../digits"
    assert refusal(ready.stub.RepositoryModelLoad, request) is Reason.NAME_MALFORMED


@pytest.mark.parametrize("part", sorted(PARTS))
def test_garbage_in_any_parameter(harness: EngineHarness, part: str) -> None:
    harness.registry.promote(harness.publish(FILES))
    genuine = load(harness).parameters[part].bytes_param

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from([b"[]", b"{}", b"null", b"[[[[", b'"a"', b"1e999", b"\xff\xfe"]),
            st.integers(0, len(genuine) - 1).map(lambda end: genuine[:end]),
            st.tuples(st.integers(0, len(genuine) - 1), st.integers(1, 255)).map(
                lambda at: genuine[: at[0]] + bytes([genuine[at[0]] ^ at[1]]) + genuine[at[0] + 1 :]
            ),
        )
    )
    def shown(data: bytes) -> None:
        request = load(harness)
        request.parameters[part].bytes_param = data
        reason = refusal(harness.stub.RepositoryModelLoad, request, timeout=60)
        assert reason.kind not in (Kind.INTERNAL, Kind.DATA_LOSS)
        assert harness.engine.live() == {}

    shown()
    harness.show()
    assert resolved(harness.engine) == 1


def test_garbage_beside_a_pointer_that_is_proved_already(ready: EngineHarness) -> None:
    ready.show(signature=b"garbage")
    # Under another policy all of it is checked again.
    ready.registry.add_policy()
    ready.registry.refresh()
    ready.show(signature=b"garbage")
    assert resolved(ready.engine) == 1


def test_a_question_of_another_form(ready: EngineHarness) -> None:
    made = ready.registry.versions["digits", 1]

    def ask(**changes: object) -> Reason:
        request = oip.ModelInferRequest(model_name="digits", model_version="1")
        request.parameters["digest"].string_param = made.digest
        x = clean_rows(MODEL, 1)
        request.inputs.add(name="x", datatype="FP32", shape=x.shape)
        request.raw_input_contents.append(x.tobytes())
        request.MergeFrom(oip.ModelInferRequest(**changes))
        return refusal(ready.stub.ModelInfer, request, timeout=60)

    for text in ("0", "01", "-1", "1.0", "x", "9" * 40):
        assert ask(model_version=text) is Reason.VERSION_MALFORMED
    assert ask(model_name="Digits!") is Reason.NAME_MALFORMED
    assert ask(raw_input_contents=[b"more"]) is Reason.RAW_CONTENTS_MISMATCH
    many = clean_rows(MODEL, 17)
    request = oip.ModelInferRequest(model_name="digits", model_version="1")
    request.parameters["digest"].string_param = made.digest
    request.inputs.add(name="x", datatype="FP32", shape=many.shape)
    request.raw_input_contents.append(many.tobytes())
    assert refusal(ready.stub.ModelInfer, request, timeout=60) is Reason.BATCH_TOO_LARGE
    request.parameters["digest"].bool_param = True
    assert refusal(ready.stub.ModelInfer, request, timeout=60) is Reason.PARAMETER_MALFORMED


class Refused(Exception):
    """With a reason of the fixed list that is not the lack of a rule."""


def answered(call, request, method) -> None:
    """Calls with an empty request; a stream is left after its first answer."""
    try:
        answer = call(request, timeout=60)
        if method.server_streaming:
            next(answer, None)
    except grpc.RpcError as error:
        if reason_of(error) in (None, Reason.RULE_MISSING):
            raise
        raise Refused from error


@pytest.mark.parametrize(("path", "method"), METHODS, ids=[path for path, _ in METHODS])
def test_each_method_has_a_rule_or_is_refused(ready: EngineHarness, path: str, method: Any) -> None:
    raw = {"request_serializer": bytes, "response_deserializer": bytes}
    kind = "unary_unary"
    if method.server_streaming:
        kind = "stream_stream" if method.client_streaming else "unary_stream"
    call = getattr(ready.channel, kind)(path, **raw)
    request = iter([b""]) if method.client_streaming else b""
    if path in ALLOWED:
        with contextlib.suppress(Refused):
            answered(call, request, method)
    else:
        assert refusal(answered, call, request, method) is Reason.RULE_MISSING


@pytest.mark.parametrize(
    "path",
    [
        "/inference.GRPCInferenceService/ServerLive",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_calls_that_say_nothing_do_not_hold_the_engine(
    registry: UncheckedRegistry, tmp_path: Path, path: str
) -> None:
    over = threading.Event()

    def silent() -> Iterator[bytes]:
        over.wait(60)
        yield from ()

    with engine_harness(registry, tmp_path, EngineLimits(threads=4, deadline=0.5)) as harness:

        def answers() -> bool:
            try:
                return harness.stub.ServerLive(oip.ServerLiveRequest(), timeout=30).live
            except grpc.RpcError as error:
                if reason_of(error) is not Reason.QUEUE_FULL:
                    raise
                return False

        raw = {"request_serializer": bytes, "response_deserializer": bytes}
        calls = [harness.channel.stream_stream(path, **raw)(silent()) for _ in range(20)]
        try:
            until(answers)
        finally:
            over.set()
            for call in calls:
                call.cancel()


def test_a_method_that_there_is_not(ready: EngineHarness) -> None:
    call = ready.channel.unary_unary("/inference.GRPCInferenceService/Shell")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("name", ["ModelInfer", "RepositoryModelLoad", "ServerReady"])
def test_a_malformed_message_is_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    with engine_harness(UncheckedRegistry(), tmp_path) as harness:
        call = harness.channel.unary_unary(f"/inference.GRPCInferenceService/{name}")
        assert refusal(call, b"\x13\x06digits", timeout=60) is Reason.MESSAGE_MALFORMED
