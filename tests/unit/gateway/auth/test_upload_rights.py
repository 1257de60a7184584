"""Every call about an upload asks for the right to publish its model, each time anew."""

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.admission.stream_limiter import StreamLimiter
from gateway.auth.method_rules import RULES, Rights
from gateway.calls.call import Call
from gateway.config.sections import GatewayLimits
from gateway.services.uploads import UploadService
from registry.uploads.open_uploads import OpenUpload
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import WILDCARD, Right
from sealgate.trust.statements import Manifest
from sealgate.v1 import upload_pb2 as messages
from tests.support.builders.documents.people import make_policy, refused

NAME = "uploads/" + "0" * 32
HEADER = messages.UploadFileRequest.Header(name=NAME, path="a.json")
ASKED = {
    "CreateUpload": messages.CreateUploadRequest(model="digits"),
    "GetUpload": messages.GetUploadRequest(name=NAME),
    "UploadFile": messages.UploadFileRequest(header=HEADER),
    "CreateVersion": messages.CreateVersionRequest(name=NAME),
    "DeleteUpload": messages.DeleteUploadRequest(name=NAME),
}


class Asked(Exception):
    """Raised by what lies behind the check."""


class OneUpload:
    """Uploads of which there is one, anna's, into digits. `registered` is the version that the
    request has registered before, if it has.
    """

    def __init__(self, registered: object = None) -> None:
        self._registered = registered

    def done(self, principal: str, once: object) -> object:
        return self._registered

    def get(self, principal: str, name: str) -> OpenUpload:
        if principal != "anna":
            raise SealgateError(Reason.UPLOAD_FOREIGN)
        files = Manifest.of({"a.json": b"{}"})
        return OpenUpload(name, principal, "digits", files, (0,), datetime.now(UTC))

    def __getattr__(self, name: str) -> Callable[..., None]:
        def act(*_: object) -> None:
            raise Asked

        return act


def ask(name: str, *rights: Right, principal: str = "anna", registered: object = None) -> Any:
    service = UploadService(OneUpload(registered), Rights(lambda: make_policy(rights=rights), ""))
    call = Call(SimpleNamespace(), name, StreamLimiter(GatewayLimits()))
    call.identify(SimpleNamespace(name=principal, roles=("publisher",)))
    request = ASKED[name]
    return getattr(service, name)(iter([request]) if name == "UploadFile" else request, call)


def test_no_method_is_forgotten() -> None:
    service = "/sealgate.v1.UploadService/"
    assert {path.removeprefix(service) for path in RULES if path.startswith(service)} == {*ASKED}


@pytest.mark.parametrize("name", ASKED)
def test_without_the_right_nothing_is_done(name: str) -> None:
    for right in (
        Right(("anna",), (), ("publish",), ("fraud",), (WILDCARD,)),
        Right(("anna",), (), ("read", "propose"), ("digits",), (WILDCARD,)),
        Right(("arne",), (), ("publish",), (WILDCARD,), (WILDCARD,)),
    ):
        with refused(Reason.RIGHT_MISSING):
            ask(name, right)


@pytest.mark.parametrize("name", ASKED)
def test_with_it_the_call_goes_on(name: str) -> None:
    right = Right(("anna",), (), ("publish",), ("digits",), (WILDCARD,))
    if name == "GetUpload":
        assert ask(name, right).upload.model == "digits"
    else:
        with pytest.raises(Asked):
            ask(name, right)


@pytest.mark.parametrize("name", [name for name in ASKED if name != "CreateUpload"])
def test_the_right_does_not_open_somebody_else_s_upload(name: str) -> None:
    right = Right(("arne",), (), ("publish",), ("digits",), (WILDCARD,))
    with refused(Reason.UPLOAD_FOREIGN):
        ask(name, right, principal="arne")


def test_a_version_is_shown_again_to_whom_may_publish_still() -> None:
    right = Right(("anna",), (), ("publish",), ("digits",), (WILDCARD,))
    with refused(Reason.RIGHT_MISSING):
        ask("CreateVersion", right, registered=SimpleNamespace(model="fraud"))
