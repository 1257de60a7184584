"""Texts of callers never become SQL (CVE-2026-42208), paths (CVE-2026-24208, CVE-2023-1177) or
exception texts.

Every text field of every method, and the credential, is replaced by known attack strings. The
caller gets a reason and its fixed sentence, no file appears or leaves, and the record stays whole.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.auth.method_rules import RULES
from gateway.services.health import SERVICES
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Kind, Reason
from sealgate.remote import access_of, reason_of
from tests.support.harness.gateway import GatewayHarness, running

pytestmark = pytest.mark.slow

TEXTS = (
    "' OR '1'='1",
    "x'; DROP TABLE models; --",
    "../../../../etc/passwd",
    "models/../../secret/versions/1",
    "models/digits/versions/1/../../secret",
    "/etc/passwd",
    "%2e%2e%2fsecret",
    "digits\x00.onnx",
    "digits\r\nauthorization: Bearer x",
    "{{7*7}}${jndi:ldap://127.0.0.1/x}",
    "http://169.254.169.254/latest/meta-data",
    "sha256:" + "../" * 20,
)
_FOREIGN = ("grpc.health.v1", "grpc.reflection.v1", "grpc.reflection.v1alpha")
_PEOPLE = {"publisher": "publisher", "approver": "approver-1"}
_METHODS = [
    (f"/{service.full_name}/{method.name}", method)
    for service in SERVICES
    for method in service.methods
]


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "secret").write_text("a secret")
    with running(folder / "state") as harness:
        yield harness


def filled(kind: type[Message], text: str, depth: int = 0) -> Message:
    """A message whose every text is the given one, in lists and in messages of messages too."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        many = field.is_repeated
        if field.type == FieldDescriptor.TYPE_STRING:
            value: object = text
        elif field.type == FieldDescriptor.TYPE_BYTES:
            value = text.encode()
        elif field.message_type is None or field.message_type.GetOptions().map_entry or depth > 2:
            continue
        else:
            value = filled(GetMessageClass(field.message_type), text, depth + 1)
        if many:
            getattr(message, field.name).append(value)
        elif isinstance(value, Message):
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)
    return message


def requests(method: MethodDescriptor, text: str) -> Iterator[bytes]:
    """A request that is filled whole, and one for each of its fields alone."""
    kind = GetMessageClass(method.input_type)
    whole = filled(kind, text)
    yield whole.SerializeToString()
    for field, _ in whole.ListFields():
        alone = kind()
        alone.MergeFrom(whole)
        for other in kind.DESCRIPTOR.fields:
            if other.name != field.name:
                alone.ClearField(other.name)
        yield alone.SerializeToString()


def call(channel: grpc.Channel, path: str, method: MethodDescriptor, request: bytes) -> None:
    if method.server_streaming:
        stream = (
            channel.stream_stream(path)(iter([request]), timeout=60)
            if method.client_streaming
            else channel.unary_stream(path)(request, timeout=60)
        )
        next(stream, None)
        stream.cancel()
    elif method.client_streaming:
        channel.stream_unary(path)(iter([request]), timeout=60)
    else:
        channel.unary_unary(path)(request, timeout=60)


def files(folder: Path) -> set[str]:
    """Those that stay: no database's own, and none that `sealgate.files` is just writing."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.name.endswith(("-wal", "-shm")) and not path.name.startswith(".seen-")
    }


def check(error: grpc.RpcError, path: str) -> None:
    reason = reason_of(error)
    if reason is None:
        assert path.startswith(tuple(f"/{name}" for name in _FOREIGN)), (path, error)
        return
    assert reason.kind not in (Kind.INTERNAL, Kind.UNAVAILABLE, Kind.DATA_LOSS), (path, reason)
    assert error.details() == reason.sentence


@pytest.mark.parametrize(("path", "method"), _METHODS, ids=[path for path, _ in _METHODS])
def test_hostile_fields_are_refused_by_a_reason_alone(
    harness: GatewayHarness, path: str, method: MethodDescriptor
) -> None:
    role = sorted(RULES[path] - {"client"})[0] if RULES[path] - {"client"} else "client"
    channel = harness.channel(_PEOPLE.get(role, role))
    before = files(harness.state.parent)
    for text in TEXTS:
        for request in requests(method, text):
            try:
                call(channel, path, method, request)
            except grpc.RpcError as error:
                check(error, path)
    assert files(harness.state.parent) == before
    harness.gateway.store.registry.verify()


@pytest.mark.parametrize("text", [text for text in TEXTS if text.isprintable()])
@pytest.mark.parametrize("prefix", ["", "sg_", "sg_0123456789ab_"])
def test_hostile_credentials_are_refused(harness: GatewayHarness, prefix: str, text: str) -> None:
    access = replace(access_of(harness.profile("client")), token=prefix + text)
    with grpc.secure_channel(access.endpoint, access.credentials()) as channel:
        stub = GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=60)
    assert reason_of(caught.value) in (
        Reason.TOKEN_MALFORMED,
        Reason.API_KEY_MALFORMED,
        Reason.API_KEY_INVALID,
    )
    assert caught.value.details() == reason_of(caught.value).sentence
