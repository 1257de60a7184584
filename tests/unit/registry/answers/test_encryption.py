"""Encryption of openings: what a row tells without its key, and what an edited row opens."""

import pytest

from registry.answers.encryption import IndexKeys, Opening, OpeningCipher, StoredOpening
from sealgate.trust.receipts.answer_entry import FIELDS, V1_FIELDS
from tests.support.fakes.records import MemorySubjects

LEAF = b"the entry's leaf"
TODAY, TOMORROW = "2026-11-28", "2026-11-29"


@pytest.fixture
def subjects() -> MemorySubjects:
    return MemorySubjects()


@pytest.fixture
def cipher(subjects: MemorySubjects) -> OpeningCipher:
    return OpeningCipher(subjects)


def opened(
    subjects: MemorySubjects, subject: str = "patient-4711", day: str = TODAY, **values: str
) -> Opening:
    fields = {**dict.fromkeys(FIELDS, ""), "time": f"{day}T10:00:00.000000Z", **values}
    return Opening(tuple(fields.values()), bytes(16), subject, subjects.key(subject))


def stored(
    cipher: OpeningCipher, opening: Opening, entry: int = 0, leaf: bytes = LEAF
) -> StoredOpening:
    return StoredOpening(entry, *cipher.encrypt(leaf, opening), leaf)


def test_what_was_encrypted_comes_back(subjects: MemorySubjects, cipher: OpeningCipher) -> None:
    new = opened(subjects, principal="carla", input='{"é": "\\u0000"}\x00')
    old = new._replace(fields=new.fields[: len(V1_FIELDS)])
    rows = [stored(cipher, new), stored(cipher, old, 1)]
    assert cipher.decrypt(rows) == ({0: new, 1: old}, frozenset())


def test_a_row_tells_no_value(subjects: MemorySubjects, cipher: OpeningCipher) -> None:
    row = stored(cipher, opened(subjects, principal="carla", verdict="adversarial"))
    shown = b"".join((row.owner, row.sealed))
    for secret in (b"patient-4711", b"carla", b"adversarial", subjects.key("patient-4711")):
        assert secret not in shown


def test_the_size_of_a_row_tells_no_outcome(
    subjects: MemorySubjects, cipher: OpeningCipher
) -> None:
    digest = "sha256:" + "0" * 64
    told = [
        {"verdict": "clean", "outcome": "answered", "output": digest, "input": digest},
        {"verdict": "adversarial", "outcome": "ADVERSARIAL_INPUT", "score": "0.12345678901234"},
        {"outcome": "RIGHT_MISSING", "principal": "mtls:somebody.with.a.long.name.example.org"},
    ]
    assert len({len(stored(cipher, opened(subjects, **one)).sealed) for one in told}) == 1


def test_equal_openings_are_not_equal_rows(subjects: MemorySubjects, cipher: OpeningCipher) -> None:
    opening = opened(subjects)
    one, other = stored(cipher, opening), stored(cipher, opening)
    assert one.owner == other.owner
    assert one.sealed[8:] != other.sealed[8:]


def test_a_subject_is_not_linked_across_days(
    subjects: MemorySubjects, cipher: OpeningCipher
) -> None:
    one = stored(cipher, opened(subjects, day=TODAY))
    other = stored(cipher, opened(subjects, day=TOMORROW))
    assert one.owner != other.owner
    assert one.sealed[:8] != other.sealed[:8]
    keys = subjects.index_keys
    assert keys.posting("model", TODAY, "m") != keys.posting("model", TOMORROW, "m")
    assert keys.posting("model", TODAY, "m") != keys.posting("outcome", TODAY, "m")


EDITS = {
    "the leaf of another entry": {"leaf": b"another leaf"},
    "the owner of another day": {"day": TOMORROW},
    "no owner": {"owner": b""},
    "nothing sealed": {"sealed": b""},
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_row_opens_nothing(
    subjects: MemorySubjects, cipher: OpeningCipher, name: str
) -> None:
    row = stored(cipher, opened(subjects))._replace(**EDITS[name])
    assert cipher.decrypt([row]) == ({}, frozenset({0}))


@pytest.mark.parametrize("place", [8, 20, 500, -1])
def test_a_flipped_bit_opens_nothing(
    subjects: MemorySubjects, cipher: OpeningCipher, place: int
) -> None:
    row = stored(cipher, opened(subjects))
    sealed = bytearray(row.sealed)
    sealed[place] ^= 1
    assert cipher.decrypt([row._replace(sealed=bytes(sealed))]) == ({}, frozenset({0}))


def test_the_owner_of_somebody_else_opens_nothing(
    subjects: MemorySubjects, cipher: OpeningCipher
) -> None:
    row = stored(cipher, opened(subjects))
    other = stored(cipher, opened(subjects, "patient-4712"))
    assert cipher.decrypt([row._replace(owner=other.owner)]).openings == {}


def test_a_destroyed_key_opens_nothing(subjects: MemorySubjects, cipher: OpeningCipher) -> None:
    row = stored(cipher, opened(subjects))
    subjects.destroy("patient-4711")
    assert cipher.decrypt([row]) == ({}, frozenset())


def test_old_entries_of_who_came_back_are_closed_not_altered(
    subjects: MemorySubjects, cipher: OpeningCipher
) -> None:
    old = opened(subjects)._replace(key=b"a key that was destroyed")
    assert cipher.decrypt([stored(cipher, old)]) == ({}, frozenset())


def test_the_index_key_has_its_size() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        IndexKeys(b"short")
