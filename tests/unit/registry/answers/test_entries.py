"""Entries made by either implementation: what they promise, and that both make the same bytes."""

import json
import os
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from registry.answers.answer_log import Entries, EntryMaker, PythonEntries, entry_maker
from registry.answers.encryption import Opening
from sealgate.trust.receipts import Receipt, answer_entry, receipt_path, receipt_tail
from sealgate.trust.receipts.answer_entry import FIELDS
from sealgate.trust.transparency import TlogProof
from sealgate.trust.transparency.merkle import leaf_hash
from tests.support.builders.documents.vectors import FOLDER

NOTE = 'example.org/log\n7\nAAAA\n\n— example.org/"log\\" AAAA\n'
PATH = (bytes(32), b"\xff" * 32, bytes(range(32)))
AWKWARD = ('"', "\\", "/", "\x00\x1f\x7f", "\b\f\n\r\t", "é", "\u2028", "😀", "x" * 3000, "")

values = st.lists(st.text(max_size=40), min_size=len(FIELDS), max_size=len(FIELDS)).map(tuple)
openings = st.builds(
    Opening, values, st.binary(max_size=255), st.just("s"), st.binary(max_size=255)
)


@pytest.fixture(params=["python", "native"])
def make(request: pytest.FixtureRequest) -> EntryMaker:
    return PythonEntries if request.param == "python" else native()


def native() -> EntryMaker:
    found = entry_maker()
    if found is PythonEntries:
        pytest.skip("sealgate_front is not installed")
    return found


def made(make: EntryMaker, openings: Sequence[Opening], key: bytes = bytes(40)) -> Entries:
    return make(openings, [key] * len(openings), bytes(range(12)) * len(openings))


def opening(*fields: str) -> Opening:
    rest = FIELDS[len(fields) :]
    return Opening((*fields, *rest), b"nonce of an entry", "subject", b"a subject's key")


def test_entries_are_of_the_format(make: EntryMaker) -> None:
    given = [opening(each) for each in AWKWARD]
    entries = made(make, given)
    for at, each in enumerate(given):
        salts = answer_entry.salts(each.key, each.nonce)
        assert entries.leaves[at] == answer_entry.leaf(each.fields, salts)
        assert entries.hashes[at] == leaf_hash(entries.leaves[at])
        assert entries.salts(at) == b"".join(salts)


def test_openings_are_encrypted_with_their_own_keys(make: EntryMaker) -> None:
    given = [opening(each) for each in AWKWARD]
    keys = [bytes([at // 2]) * 40 for at in range(len(given))]
    ivs = os.urandom(12 * len(given))
    entries = make(given, keys, ivs)
    for at, (each, key) in enumerate(zip(given, keys, strict=True)):
        iv, sealed = ivs[12 * at : 12 * at + 12], entries.sealed[at]
        assert sealed[:20] == key[32:] + iv
        plain = AESGCM(key[:32]).decrypt(iv, sealed[20:], entries.leaves[at])
        assert len(plain) % 1024 == 0
        assert plain[: 1 + plain[0]] == bytes([len(each.nonce)]) + each.nonce
        assert tuple(json.loads(plain[1 + plain[0] :])) == each.fields


def test_receipts_are_those_of_whole_ones(make: EntryMaker) -> None:
    given = [opening(each) for each in AWKWARD]
    entries = made(make, given)
    for at, each in enumerate(given):
        salts = answer_entry.salts(each.key, each.nonce)
        proof = TlogProof(10**15 + at, PATH[: at % 4], NOTE)
        whole = Receipt.of(entries.leaves[at], each.fields, salts, proof)
        found = entries.receipt(at, proof.index, receipt_path(proof.hashes), receipt_tail(NOTE))
        assert found == whole.encode()


@pytest.mark.parametrize(
    "mistaken",
    [
        opening()._replace(fields=FIELDS[:-1]),
        opening()._replace(fields=(*FIELDS, "")),
        opening()._replace(fields=("\ud800", *FIELDS[1:])),
        opening()._replace(key=bytes(256)),
        opening()._replace(nonce=bytes(256)),
    ],
)
def test_what_is_no_entry_is_refused(make: EntryMaker, mistaken: Opening) -> None:
    with pytest.raises(ValueError, match=r"values|surrogates|bytes|length|range"):
        made(make, [opening(), mistaken])


@given(st.lists(openings, max_size=6), st.binary(min_size=40, max_size=40))
def test_both_make_the_same_bytes(given: list[Opening], key: bytes) -> None:
    ours, theirs = made(PythonEntries, given, key), made(native(), given, key)
    assert list(ours.leaves) == list(theirs.leaves)
    assert list(ours.hashes) == list(theirs.hashes)
    assert list(ours.sealed) == list(theirs.sealed)
    for at in range(len(given)):
        assert ours.salts(at) == theirs.salts(at)
        receipts = [
            each.receipt(at, at, receipt_path(PATH), receipt_tail(NOTE)) for each in (ours, theirs)
        ]
        assert receipts[0] == receipts[1]


def test_the_published_vector_is_made(make: EntryMaker) -> None:
    vector = json.loads((FOLDER / "receipt-v2.json").read_text())
    key, nonce = bytes.fromhex(vector["subject_key"]), bytes.fromhex(vector["nonce"])
    entries = made(make, [Opening(tuple(vector["values"].values()), nonce, "", key)])
    assert entries.leaves[0].hex() == vector["leaf"]
    assert entries.salts(0).hex() == "".join(vector["salts"].values())
    proof = Receipt.decode(vector["receipt"].encode()).proof
    path, tail = receipt_path(proof.hashes), receipt_tail(proof.checkpoint_note)
    assert entries.receipt(0, proof.index, path, tail).decode() == vector["receipt"]
