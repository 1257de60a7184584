"""Request ids with control characters are refused, so they can't forge log lines."""

from collections.abc import Iterator

import pytest

from sealgate.reasons import Reason
from sealgate.v1 import log_pb2
from tests.support.house import House, question, refusal, rows, running


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running(tmp_path_factory.mktemp("house") / "state") as house:
        yield house


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\x00b", "\x1b[31m", "\u2028", "\u202e", "x" * 9999]
)
def test_ids_with_control_characters_are_refused(house: House, text: str) -> None:
    request = question("digits", rows())
    request.id = text
    assert refusal(house.inference().ModelInfer, request, timeout=60) is Reason.PARAMETER_MALFORMED
    answers = house.gateway.store.answers
    entry = log_pb2.OpenEntryRequest(origin=answers.origin, index=answers.size - 1)
    receipt = house.logs().OpenEntry(entry, timeout=60).receipt
    assert b"client" in receipt
    assert text.encode() not in receipt
