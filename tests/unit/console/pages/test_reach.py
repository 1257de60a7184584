"""From where on the answers of a version are looked for."""

from types import SimpleNamespace
from typing import Any

import pytest

from console.pages.reach import LOOKED_BACK, answers_before
from sealgate.trust import canonical
from sealgate.v1.log_pb2 import StreamEntriesRequest, StreamEntriesResponse
from tests.support.builders.documents.people import make_policy

ORIGIN = "house.localhost/answers"


def anchor(size: int, origin: str = ORIGIN) -> bytes:
    return canonical.encode(
        {
            "event": "answers.anchored",
            "subject": f"logs/{origin}",
            "time": "2026-11-25T10:00:00Z",
            "body": {"size": size, "checkpoint": "a note"},
        }
    )


@pytest.fixture
def calls() -> Any:
    """A registry's log of anchors and other entries."""
    other = canonical.encode({"event": "model.created"})
    leaves = [anchor(3), other, anchor(8), other, anchor(9, "other/answers"), *[other] * 2000]
    asked: list[StreamEntriesRequest] = []

    def stream(request: StreamEntriesRequest) -> list[StreamEntriesResponse]:
        asked.append(request)
        return [StreamEntriesResponse(leaves=leaves[request.start : request.end])]

    logs = SimpleNamespace(StreamEntries=stream)
    return SimpleNamespace(policy=make_policy(), logs=logs, asked=asked)


def test_the_newest_anchor_before_the_version_says_it(calls: Any) -> None:
    assert answers_before(calls, 2) == {ORIGIN: 3}
    assert answers_before(calls, 5) == {ORIGIN: 8, "other/answers": 9}


def test_only_the_entries_just_before_are_read(calls: Any) -> None:
    assert answers_before(calls, 2000) == {}
    assert [(r.start, r.end) for r in calls.asked] == [(2000 - LOOKED_BACK, 2000)]


def test_nothing_is_asked_of_the_first_entry(calls: Any) -> None:
    assert answers_before(calls, 0) == {}
    assert calls.asked == []
