"""The digest of a request's parameters."""

import hashlib
import struct

import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import MOST, parameters_digest
from tests.support.builders.documents.people import refused


def asking(outputs: tuple[str, ...] = (), **parameters: dict[str, object]) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="digits", model_version="3", id="7")
    for name, value in parameters.items():
        request.parameters[name].CopyFrom(oip.InferParameter(**value))  # type: ignore[arg-type]
    for name in outputs:
        request.outputs.add(name=name)
    return request


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def written(name: str, kind: int, value: bytes) -> bytes:
    return number(len(name.encode())) + name.encode() + bytes([kind]) + number(len(value)) + value


def test_the_digest_is_of_names_types_values_and_outputs() -> None:
    request = asking(
        ("y", "x"),
        receipt={"bool_param": True},
        priority={"int64_param": -2},
        alias={"string_param": "canary"},
        temperature={"double_param": 0.25},
        limit={"uint64_param": 2**64 - 1},
        ü={},
    )
    expected = hashlib.sha256(
        b"sealgate/parameters/v1\n"
        + number(6)
        + written("alias", 3, b"canary")
        + written("limit", 5, b"\xff" * 8)
        + written("priority", 2, b"\xff" * 7 + b"\xfe")
        + written("receipt", 1, b"\x01")
        + written("temperature", 4, struct.pack(">d", 0.25))
        + written("ü", 0, b"")
        + number(2)
        + (number(1) + b"y" + number(1) + b"x")
    )
    assert parameters_digest(request) == "sha256:" + expected.hexdigest()


def test_a_request_without_parameters_has_a_digest_too() -> None:
    expected = hashlib.sha256(b"sealgate/parameters/v1\n" + number(0) + number(0))
    assert parameters_digest(asking()) == "sha256:" + expected.hexdigest()


def test_whatever_differs_shows_in_the_digest() -> None:
    requests = [
        asking(),
        asking(("y",)),
        asking(("y", "x")),
        asking(("x", "y")),
        asking(a={"bool_param": False}),
        asking(a={"bool_param": True}),
        asking(a={"int64_param": 1}),
        asking(a={"uint64_param": 1}),
        asking(a={"double_param": 1.0}),
        asking(a={"string_param": "1"}),
        asking(a={"string_param": ""}),
        asking(a={}),
        asking(b={"string_param": "1"}),
        asking(a={"string_param": "1"}, b={"string_param": ""}),
    ]
    assert len({parameters_digest(request) for request in requests}) == len(requests)


def test_order_and_what_has_a_field_of_its_own_do_not_show() -> None:
    one = asking(a={"int64_param": 1}, b={"string_param": "2"})
    other = asking(b={"string_param": "2"}, a={"int64_param": 1})
    other.model_name, other.model_version, other.id = "text", "", "8"
    other.inputs.add(name="x").parameters["ignored"].bool_param = True
    assert parameters_digest(one) == parameters_digest(other)


@pytest.mark.parametrize("what", ["parameters", "outputs"])
def test_more_than_a_request_may_have_are_refused(what: str) -> None:
    names = [f"n{place}" for place in range(MOST + 1)]

    def request(count: int) -> oip.ModelInferRequest:
        if what == "outputs":
            return asking(tuple(names[:count]))
        return asking(**{name: {"bool_param": True} for name in names[:count]})

    assert parameters_digest(request(MOST))
    with refused(Reason.PARAMETER_MALFORMED):
        parameters_digest(request(MOST + 1))
