"""The file in which a gateway keeps the newest checkpoint of a log."""

from pathlib import Path

import pytest

from gateway.recording.log_memory import SLOT_BYTES, LogMemory
from sealgate.settings import ConfigError
from sealgate.trust.keys import PrivateKey
from sealgate.trust.transparency import Checkpoint, log_vkey, sign_checkpoint
from tests.support.builders.documents.people import ANSWER_LOG, key

SIGNER = key("answer-log")
VKEY = log_vkey(ANSWER_LOG, SIGNER)


def note(size: int, origin: str = ANSWER_LOG, signer: PrivateKey = SIGNER) -> str:
    return sign_checkpoint(Checkpoint(origin, size, bytes([size % 256]) * 32), signer)


@pytest.fixture
def seen(tmp_path: Path) -> LogMemory:
    return LogMemory.beside(tmp_path / "seen.json", "answers", VKEY)


def again(seen: LogMemory) -> LogMemory:
    """Return the memory as another process reads it while the first still holds it."""
    return LogMemory(seen.path, VKEY)


def size(seen: LogMemory) -> int:
    checkpoint = again(seen).checkpoint
    assert checkpoint is not None
    return checkpoint.size


def test_nothing_was_seen_yet(seen: LogMemory) -> None:
    assert seen.checkpoint is None
    seen.sync()
    assert not seen.path.exists()


def test_each_checkpoint_is_in_the_file_at_once(seen: LogMemory) -> None:
    for number in range(1, 12):
        seen.keep(note(number))
        assert size(seen) == number
        if number % 3 == 0:
            seen.sync()
            assert size(seen) == number
    seen.close()
    assert size(seen) == 11


@pytest.mark.parametrize("slot", range(4))
def test_a_write_that_was_cut_short_costs_one_checkpoint_at_most(
    seen: LogMemory, slot: int
) -> None:
    for number in range(1, 10):
        seen.keep(note(number))
        if number % 4 == 0:
            seen.sync()
    data = bytearray(seen.path.read_bytes())
    data[slot * SLOT_BYTES + 40] ^= 1
    seen.path.write_bytes(data)
    assert size(seen) >= 8


def test_a_file_without_a_whole_slot_is_refused(seen: LogMemory) -> None:
    seen.keep(note(1))
    data = bytearray(seen.path.read_bytes())
    for slot in range(4):
        data[slot * SLOT_BYTES + 40] ^= 1
    seen.path.write_bytes(data)
    for content in (bytes(data), b"", bytes(4 * SLOT_BYTES)):
        seen.path.write_bytes(content)
        with pytest.raises(ConfigError, match="damaged"):
            _ = again(seen).checkpoint


def test_a_file_by_an_earlier_release_is_read_and_replaced(seen: LogMemory) -> None:
    seen.path.write_text(note(7))
    assert size(seen) == 7
    seen.keep(note(8))
    assert size(seen) == 8


def test_another_key_of_the_same_log_is_refused(seen: LogMemory) -> None:
    seen.keep(note(1, signer=key("other")))
    with pytest.raises(ConfigError, match="SIGNATURE_INVALID"):
        _ = again(seen).checkpoint


def test_another_log_was_not_seen_yet(seen: LogMemory) -> None:
    seen.keep(note(5, "example.org/other"))
    assert again(seen).checkpoint is None


def test_a_file_that_was_removed_meanwhile_comes_back(seen: LogMemory) -> None:
    seen.keep(note(1))
    seen.path.unlink()
    seen.keep(note(2))
    seen.sync()
    assert size(seen) == 2
    seen.keep(note(3))
    assert size(seen) == 3


def test_a_process_that_ends_late_overwrites_nothing_of_the_next(seen: LogMemory) -> None:
    seen.keep(note(1))
    following = again(seen)
    following.keep(note(9))
    seen.keep(note(2))
    seen.close()
    assert size(seen) == 9


def test_the_file_is_for_its_owner_alone(seen: LogMemory) -> None:
    seen.keep(note(1))
    assert seen.path.stat().st_mode & 0o777 == 0o600


def test_notes_by_the_key_before_do_not_count_beside_a_newer_one(seen: LogMemory) -> None:
    """Few entries come after a hand-over, and not every slot is written again before a restart."""
    before = key("answers-before")
    for number in (1, 2, 3):
        seen.keep(note(number, signer=before))
        seen.sync()
    seen.keep(note(3))
    assert size(seen) == 3
    seen.keep(note(4, signer=before))
    with pytest.raises(ConfigError, match="SIGNATURE_INVALID"):
        _ = again(seen).checkpoint
