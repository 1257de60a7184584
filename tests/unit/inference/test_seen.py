"""The engine's memory: what is refused because of it, and that it survives."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inference.engine.rollback_guard import Mark, Seen, SeenFile
from sealgate.reasons import Reason, Refusal
from sealgate.trust.canonical import sha256

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
A, B = sha256(b"a"), sha256(b"b")

Step = Callable[[Seen, Mark], Seen]


def policy(seen: Seen, mark: Mark) -> Seen:
    return seen.with_policy(mark, NOON)


def freshness(seen: Seen, mark: Mark) -> Seen:
    return seen.with_freshness(mark, NOON, frozenset())


def pointer(seen: Seen, mark: Mark) -> Seen:
    return seen.with_pointer("digits/production", mark)


STEPS = [
    (policy, Reason.POLICY_ROLLED_BACK),
    (freshness, Reason.POINTER_STALE),
    (pointer, Reason.SEQUENCE_STALE),
]


@pytest.mark.parametrize(("step", "reason"), STEPS)
@pytest.mark.parametrize("later", [Mark(1, A), Mark(2, B)])
def test_nothing_lower_and_no_second_of_a_number(step: Step, reason: Reason, later: Mark) -> None:
    seen = step(Seen(), Mark(2, A))
    with pytest.raises(Refusal) as refused:
        step(seen, later)
    assert refused.value.reason is reason


@pytest.mark.parametrize(("step", "reason"), STEPS)
def test_the_same_again_or_higher_is_fine(step: Step, reason: Reason) -> None:
    seen = step(Seen(), Mark(2, A))
    assert step(seen, Mark(2, A)) == seen
    assert step(seen, Mark(3, B)) != seen


def test_aliases_have_sequences_of_their_own() -> None:
    seen = Seen().with_pointer("digits/production", Mark(5, A))
    assert seen.with_pointer("digits/canary", Mark(1, B)).pointers["digits/canary"] == Mark(1, B)


def test_a_revocation_is_for_good() -> None:
    seen = Seen().with_freshness(Mark(1, A), NOON, frozenset({A}))
    assert seen.with_freshness(Mark(2, B), NOON, frozenset()).revoked == {A}


def test_the_clock_cannot_be_before_what_was_signed() -> None:
    seen = Seen().with_policy(Mark(1, A), NOON)
    assert seen.now(NOON - timedelta(days=1)) == NOON
    assert seen.now(NOON + timedelta(days=1)) == NOON + timedelta(days=1)
    earlier = seen.with_freshness(Mark(1, A), NOON - timedelta(hours=1), frozenset())
    assert earlier.time == NOON


@pytest.fixture
def full() -> Seen:
    seen = Seen().with_policy(Mark(3, A), NOON)
    seen = seen.with_freshness(Mark(9, B), NOON + timedelta(minutes=1), frozenset({A, B}))
    return seen.with_pointer("digits/production", Mark(5, A)).with_pointer("b/canary", Mark(1, B))


def test_it_survives(tmp_path: Path, full: Seen) -> None:
    file = SeenFile.open(tmp_path / "seen.json")
    assert file.seen == Seen()
    file.save(full)
    assert file.seen == full
    assert SeenFile.open(tmp_path / "seen.json").seen == full
    assert [path.name for path in tmp_path.iterdir()] == ["seen.json"]


def test_a_failed_save_leaves_the_old_file(
    tmp_path: Path, full: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SeenFile.open(tmp_path / "seen.json")
    file.save(Seen().with_policy(Mark(1, A), NOON))
    before = file.seen

    def fail(descriptor: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        file.save(full)
    assert file.seen == before == SeenFile.open(tmp_path / "seen.json").seen
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"seen/", b"been/"), (b"{", b" {"), (b'"number":3', b'"number":0'), (b"}", b"")],
)
def test_a_damaged_file_is_refused(tmp_path: Path, full: Seen, old: bytes, new: bytes) -> None:
    path = tmp_path / "seen.json"
    path.write_bytes(full.encode().replace(old, new))
    with pytest.raises(Refusal) as refused:
        SeenFile.open(path)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
