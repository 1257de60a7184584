import hashlib

import pytest

from sealgate.reasons import Reason
from sealgate.trust.receipts import answer_entry
from sealgate.trust.receipts.answer_entry import (
    FIELDS,
    V1_FIELDS,
    commit,
    commitments,
    fields_of,
    joined,
    leaf,
    salts,
    tensors_digest,
)
from tests.support.builders.documents.people import refused

VALUES = tuple(f"value of {field} \u2013 ü" for field in FIELDS)
SALTS = salts(b"k" * 32, b"n" * 16)


def test_salts_are_the_pieces_of_one_stream() -> None:
    keyed = b"sealgate/salts/v1\n" + b"\x20" + b"k" * 32 + b"n" * 16
    assert b"".join(SALTS) == hashlib.shake_256(keyed).digest(16 * len(FIELDS))
    assert {len(salt) for salt in SALTS} == {16}
    assert len(set(SALTS)) == len(FIELDS)
    with pytest.raises(ValueError, match="255 bytes"):
        salts(b"k" * 256, b"n")


def test_other_keys_and_nonces_make_other_salts() -> None:
    others = {salts(b"k" * 32, b"m" * 16), salts(b"j" * 32, b"n" * 16), salts(b"k" * 31, b"n" * 16)}
    # Where the key ends and the nonce begins counts too.
    shifted = salts(b"k" * 31, b"k" + b"n" * 16)
    assert len({SALTS, shifted, *others}) == 5


@pytest.mark.parametrize(
    ("header", "names", "size"),
    [(b"sealgate/answer/v1\n", V1_FIELDS, 499), (b"sealgate/answer/v2\n", FIELDS, 691)],
)
def test_a_leaf_is_its_commitments_in_order(
    header: bytes, names: tuple[str, ...], size: int
) -> None:
    used, values = salts(b"k" * 32, b"n" * 16, len(names)), VALUES[: len(names)]
    entry = leaf(values, used)
    assert entry.startswith(header)
    assert len(entry) == size
    assert commitments(entry) == tuple(
        commit(salt, field, value) for salt, field, value in zip(used, names, values, strict=True)
    )
    assert joined(commitments(entry)) == entry
    assert fields_of(entry) == fields_of(len(names)) == names


def test_a_new_entry_keeps_the_fields_of_v1_and_adds_six() -> None:
    added = ("alias", "parameters", "request_id", "screening", "arithmetic", "actions")
    assert (*V1_FIELDS, *added) == FIELDS
    assert len(leaf(VALUES, SALTS)) == answer_entry.LEAF_SIZE


def test_a_commitment_binds_salt_field_and_value() -> None:
    value = "1"
    expected = hashlib.sha256(SALTS[3] + b"\x07version" + b"1").digest()
    assert commit(SALTS[3], "version", value) == expected
    others = {
        commit(SALTS[3], "version", "2"),
        commit(SALTS[4], "version", value),
        commit(SALTS[3], "verdict", value),
    }
    assert expected not in others


def test_a_leaf_needs_every_field() -> None:
    for count in (0, 14, 16, 20, 22):
        with refused(Reason.DOCUMENT_MALFORMED):
            leaf(("",) * count, (bytes(16),) * count)
        with refused(Reason.DOCUMENT_MALFORMED):
            joined((bytes(32),) * count)
        with refused(Reason.DOCUMENT_MALFORMED):
            fields_of(count)
    with pytest.raises(ValueError, match="zip"):
        leaf(VALUES, SALTS[1:])


ENTRY = leaf(VALUES, SALTS)


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        ENTRY[:-1],
        b"x" + ENTRY[1:],
        ENTRY[:499],
        ENTRY.replace(b"/v2", b"/v1"),
        ENTRY[:499].replace(b"/v2", b"/v1") + bytes(32),
    ],
)
def test_what_is_not_a_leaf_is_refused(entry: bytes) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        commitments(entry)
    with refused(Reason.DOCUMENT_MALFORMED):
        fields_of(entry)


def test_the_digest_of_tensors() -> None:
    x = ("x", "FP32", (1, 2), b"\x01" * 8)
    y = ("y", "INT64", (), b"\x02" * 8)
    digest = tensors_digest([x, y])
    assert digest == tensors_digest([y, x])

    def number(n: int) -> bytes:
        return n.to_bytes(8, "big")

    expected = hashlib.sha256(
        b"sealgate/tensors/v1\n"
        + number(2)
        + (number(1) + b"x" + number(4) + b"FP32" + number(2) + number(1) + number(2))
        + (number(8) + b"\x01" * 8)
        + (number(1) + b"y" + number(5) + b"INT64" + number(0))
        + (number(8) + b"\x02" * 8)
    )
    assert digest == "sha256:" + expected.hexdigest()


def test_whatever_differs_in_a_tensor_shows_in_the_digest() -> None:
    tensors: list[list[tuple[str, str, tuple[int, ...], bytes]]] = [
        [("x", "FP32", (1, 2), b"\x01" * 8)],
        [("z", "FP32", (1, 2), b"\x01" * 8)],
        [("x", "INT32", (1, 2), b"\x01" * 8)],
        [("x", "FP32", (2, 1), b"\x01" * 8)],
        [("x", "FP32", (2,), b"\x01" * 8)],
        [("x", "FP32", (1, 2), b"\x02" * 8)],
        [],
    ]
    assert len({tensors_digest(item) for item in tensors}) == len(tensors)


def test_a_tensor_named_twice_is_refused() -> None:
    with refused(Reason.TENSOR_DUPLICATE):
        tensors_digest([("x", "FP32", (0,), b""), ("x", "FP32", (1,), b"1234")])
