"""Request ids with control characters are refused, so they can't forge log lines."""

from collections.abc import Iterator

import pytest

from sealgate.reasons import Reason
from sealgate.v1 import log_pb2
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows, running


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(tmp_path_factory.mktemp("house") / "state") as harness:
        yield harness


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\x00b", "\x1b[31m", "\u2028", "\u202e", "x" * 9999]
)
def test_ids_with_control_characters_are_refused(harness: GatewayHarness, text: str) -> None:
    request = question("digits", rows())
    request.id = text
    assert (
        refusal(harness.inference().ModelInfer, request, timeout=60) is Reason.PARAMETER_MALFORMED
    )
    answers = harness.gateway.store.answers
    entry = log_pb2.OpenEntryRequest(origin=answers.origin, index=answers.size - 1)
    receipt = harness.logs().OpenEntry(entry, timeout=60).receipt
    assert b"client" in receipt
    assert text.encode() not in receipt
