"""Every change may be repeated: its request has an id, or says by itself what it has done."""

import pytest

from gateway.services.health import SERVICES

READS = ("Get", "List", "Stream", "Watch", "Download", "Open")
# An offset says what has come; what is gone is gone; a challenge or token too many expires.
BY_THEMSELVES = {"UploadFile", "DeleteUpload", "CreateLoginChallenge", "CreateBoundToken"}
CHANGES = [
    method
    for service in SERVICES
    if service.full_name.startswith("sealgate.")
    for method in service.methods
    if not method.name.startswith(READS) and method.name not in BY_THEMSELVES
]


@pytest.mark.parametrize("method", CHANGES, ids=[method.name for method in CHANGES])
def test_a_change_has_an_id(method) -> None:
    # A stream of messages carries it in the first, the header.
    messages = [method.input_type, *method.input_type.nested_types]
    assert any("request_id" in message.fields_by_name for message in messages)


def test_none_of_them_is_forgotten() -> None:
    names = {method.name for method in CHANGES}
    assert {"EraseSubject", "CreateUpload", "CreateVersion", "Promote", "AcceptPolicy"} <= names
