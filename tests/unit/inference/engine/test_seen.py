"""The engine's memory: what is refused because of it, and that it survives."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inference.engine.trust_state import HighWaterMark, RollbackGuard, RollbackGuardFile
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
A, B = sha256(b"a"), sha256(b"b")

Step = Callable[[RollbackGuard, HighWaterMark], RollbackGuard]


def policy(seen: RollbackGuard, mark: HighWaterMark) -> RollbackGuard:
    return seen.with_policy(mark, NOON)


def freshness(seen: RollbackGuard, mark: HighWaterMark) -> RollbackGuard:
    return seen.with_freshness(mark, NOON, frozenset())


def pointer(seen: RollbackGuard, mark: HighWaterMark) -> RollbackGuard:
    return seen.with_pointer("digits/production", mark)


STEPS = [
    (policy, Reason.POLICY_ROLLED_BACK),
    (freshness, Reason.POINTER_STALE),
    (pointer, Reason.SEQUENCE_STALE),
]


@pytest.mark.parametrize(("step", "reason"), STEPS)
@pytest.mark.parametrize("later", [HighWaterMark(1, A), HighWaterMark(2, B)])
def test_nothing_lower_and_no_second_of_a_number(
    step: Step, reason: Reason, later: HighWaterMark
) -> None:
    seen = step(RollbackGuard(), HighWaterMark(2, A))
    with pytest.raises(SealgateError) as refused:
        step(seen, later)
    assert refused.value.reason is reason


@pytest.mark.parametrize(("step", "reason"), STEPS)
def test_the_same_again_or_higher_is_fine(step: Step, reason: Reason) -> None:
    seen = step(RollbackGuard(), HighWaterMark(2, A))
    assert step(seen, HighWaterMark(2, A)) == seen
    assert step(seen, HighWaterMark(3, B)) != seen


def test_aliases_have_sequences_of_their_own() -> None:
    seen = RollbackGuard().with_pointer("digits/production", HighWaterMark(5, A))
    assert seen.with_pointer("digits/canary", HighWaterMark(1, B)).pointers[
        "digits/canary"
    ] == HighWaterMark(1, B)


def test_a_revocation_is_for_good() -> None:
    seen = RollbackGuard().with_freshness(HighWaterMark(1, A), NOON, frozenset({A}))
    assert seen.with_freshness(HighWaterMark(2, B), NOON, frozenset()).revoked == {A}


def test_the_clock_cannot_be_before_what_was_signed() -> None:
    seen = RollbackGuard().with_policy(HighWaterMark(1, A), NOON)
    assert seen.now(NOON - timedelta(days=1)) == NOON
    assert seen.now(NOON + timedelta(days=1)) == NOON + timedelta(days=1)
    earlier = seen.with_freshness(HighWaterMark(1, A), NOON - timedelta(hours=1), frozenset())
    assert earlier.time == NOON


@pytest.fixture
def full() -> RollbackGuard:
    seen = RollbackGuard().with_policy(HighWaterMark(3, A), NOON)
    seen = seen.with_freshness(HighWaterMark(9, B), NOON + timedelta(minutes=1), frozenset({A, B}))
    return seen.with_pointer("digits/production", HighWaterMark(5, A)).with_pointer(
        "b/canary", HighWaterMark(1, B)
    )


def test_it_survives(tmp_path: Path, full: RollbackGuard) -> None:
    file = RollbackGuardFile.open(tmp_path / "seen.json")
    assert file.seen == RollbackGuard()
    file.save(full)
    assert file.seen == full
    assert RollbackGuardFile.open(tmp_path / "seen.json").seen == full
    assert [path.name for path in tmp_path.iterdir()] == ["seen.json"]


def test_a_failed_save_leaves_the_old_file(
    tmp_path: Path, full: RollbackGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RollbackGuardFile.open(tmp_path / "seen.json")
    file.save(RollbackGuard().with_policy(HighWaterMark(1, A), NOON))
    before = file.seen

    def fail(descriptor: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        file.save(full)
    assert RollbackGuardFile.open(tmp_path / "seen.json").seen == before
    assert len(list(tmp_path.iterdir())) == 1
    # This process does not go back behind it, and saves it as soon as it can.
    assert file.seen == full
    monkeypatch.undo()
    file.save(full)
    assert RollbackGuardFile.open(tmp_path / "seen.json").seen == full


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"seen/", b"been/"), (b"{", b" {"), (b'"number":3', b'"number":0'), (b"}", b"")],
)
def test_a_damaged_file_is_refused(
    tmp_path: Path, full: RollbackGuard, old: bytes, new: bytes
) -> None:
    path = tmp_path / "seen.json"
    path.write_bytes(full.encode().replace(old, new))
    with pytest.raises(SealgateError) as refused:
        RollbackGuardFile.open(path)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
    assert str(path) in refused.value.detail


def test_without_rejections_the_file_is_what_it_always_was() -> None:
    seen = RollbackGuard().with_freshness(HighWaterMark(1, A), NOON, frozenset())
    assert b"rejected" not in seen.encode()
    told = seen.with_freshness(HighWaterMark(2, B), NOON, frozenset(), frozenset({A}))
    assert RollbackGuard.decode(told.encode()) == told
    assert told.with_freshness(HighWaterMark(3, B), NOON, frozenset()).rejected == {A}
