"""Receipts that are odd, of another call, of another form, or of another tree."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sealgate.trust.receipts import Receipt
from sealgate.trust.receipts.receipt import CALLER_FIELDS
from sealgate.trust.transparency import Checkpoint, TlogProof, merkle, note, sign_checkpoint
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    at,
    key,
    make_policy,
    sign_policy,
)
from tests.support.builders.documents.receipt_cases import (
    BASE,
    ENVELOPE,
    EXPECTED,
    POLICY,
    RECEIPT,
    V1_EXPECTED,
    Case,
    altered,
    known,
    made,
    signed_by,
)

_NO_DAY = "2026-02-30T10:00:00.000000Z"


def odd_receipts() -> Iterator[Case]:
    """All of them."""
    yield from (*_accepted(), *_of_another_call(), *_of_another_form(), *_of_another_tree())


def _accepted() -> Iterator[Case]:
    yield BASE
    yield replace(BASE, name="an entry of v1", receipt=made(V1_EXPECTED), unsafe_v1=True)
    opening = (*CALLER_FIELDS, "score", "threshold")
    yield replace(BASE, name="every field opened", receipt=made(opening=opening))
    yield replace(BASE, name="the only entry of a log", receipt=made(index=0, size=1))
    yield replace(BASE, name="the last entry, with a short path", receipt=made(index=10))
    yield replace(BASE, name="a place beyond 32 bits", receipt=_distant(0))
    odd = '"\\\t\b\x01\x7f/ ü€😀\u2028\u2029\ufeff\ufffd\\ud800 </script> e\u0301'
    values = EXPECTED | {"request_id": odd}
    yield replace(BASE, name="odd characters", receipt=made(values), fields=known(values))
    longest = EXPECTED | {"request_id": "😀" * 4096}
    yield replace(BASE, name="4096 characters", receipt=made(longest), fields=known(longest))
    yield replace(BASE, name="a witness has signed", receipt=_noted(lambda n: n + _witness()))
    second = sign_policy(make_policy(version=2)).encode().decode()
    yield replace(BASE, name="a second policy", policies=(ENVELOPE, second))
    yield replace(
        BASE,
        name="three root keys signed",
        policies=(signed_by(POLICY, "root-0", "root-1", "root-2"),),
    )


def _of_another_call() -> Iterator[Case]:
    for name in known():
        fields = known() | {name: f"{EXPECTED[name]}0"}
        yield replace(BASE, name=f"another {name}", fields=fields, reason="RECEIPT_MISMATCH")
    composed = EXPECTED | {"request_id": "e\u0301"}
    yield replace(
        BASE,
        name="an id that only looks the same",
        receipt=made(composed),
        fields=known() | {"request_id": "\u00e9"},
        reason="RECEIPT_MISMATCH",
    )
    sealed = tuple(name for name in CALLER_FIELDS if name != "alias")
    yield replace(
        BASE, name="the alias kept", receipt=made(opening=sealed), reason="RECEIPT_MISMATCH"
    )
    yield replace(BASE, name="v1, unasked", receipt=made(V1_EXPECTED), reason="RECEIPT_OUTDATED")
    for hours in (-1, 1):
        late = at(hours=hours)
        yield replace(
            BASE, name=f"{hours} h off", since=late, until=late, reason="RECEIPT_MISMATCH"
        )
    for text in (
        "2026-11-25T10:00:00Z",
        "2026-11-25T10:00:00.1234567Z",
        "2026-02-30T10:00:00.000000Z",
    ):
        receipt = made(EXPECTED | {"time": text})
        yield replace(BASE, name=f"at {text}", receipt=receipt, reason="DOCUMENT_MALFORMED")
    other = made(EXPECTED | {"policy_digest": "sha256:" + "0" * 64})
    yield replace(BASE, name="another policy", receipt=other, reason="POLICY_INVALID")


def _of_another_form() -> Iterator[Case]:
    def malformed(name: str, receipt: str) -> Case:
        return replace(BASE, name=name, receipt=receipt, reason="DOCUMENT_MALFORMED")

    texts = {
        "nothing": "",
        "null": "null",
        "a blank before": " " + RECEIPT,
        "a line end behind": RECEIPT + "\n",
        "a byte order mark": "\ufeff" + RECEIPT,
        "a second value": RECEIPT + RECEIPT,
        "names unsorted": RECEIPT.replace('{"comm', '{"type":"sealgate/receipt/v2","comm')[:-29]
        + "}",
        "a name twice": RECEIPT.replace('{"comm', '{"commitments":[],"comm', 1),
        "an unknown name": RECEIPT[:-1] + ',"unknown":0}',
        "a slash escaped": RECEIPT.replace("sealgate/receipt", "sealgate\\/receipt"),
        "a letter escaped": RECEIPT.replace('"carla"', '"\\u0063arla"'),
        "half a pair of surrogates": RECEIPT.replace('"carla"', '"\\ud800"'),
        "of a later type": RECEIPT.replace("receipt/v2", "receipt/v3"),
        "v2 as v1": RECEIPT.replace("receipt/v2", "receipt/v1"),
        "v1 as v2": made(V1_EXPECTED).replace("receipt/v1", "receipt/v2"),
        "many brackets": "[" * 20_000,
        "a number for a text": RECEIPT.replace('"carla"', "5"),
        "a number beyond 2^53": RECEIPT.replace('"carla"', "9007199254740993"),
        "a list for a text": RECEIPT.replace('"carla"', '["carla"]'),
        "not a number": RECEIPT.replace('"carla"', "NaN"),
    }
    yield from (malformed(name, text) for name, text in texts.items())
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "the proof as a list": lambda value: value.update(proof=[value["proof"]]),
        "the proof longer than 65536": lambda value: value.update(
            proof=value["proof"]
            + "".join(_witness(f"{n}{'w' * 240}") for n in range(80))
            + _witness("x" * 255, 40_000)
        ),
        "the type as a list": lambda value: value.update(type=[value["type"]]),
        "a field that is none": lambda value: value["opened"].update(
            constructor=value["opened"]["alias"]
        ),
        "a field named __proto__": lambda value: value["opened"].update(
            __proto__=value["opened"]["alias"]
        ),
        "a commitment too few": lambda value: value["commitments"].pop(),
        "a commitment too many": lambda value: value["commitments"].append("0" * 64),
        "capital digits": lambda value: value["commitments"].__setitem__(0, "A" * 64),
        "digits of another script": lambda value: value["commitments"].__setitem__(
            0, "\u0661" * 64
        ),
        "a short salt": lambda value: value["opened"]["alias"].update(salt="00"),
        "a value of 4097": lambda value: value["opened"]["alias"].update(value="a" * 4097),
        "a field with a third part": lambda value: value["opened"]["alias"].update(more=""),
    }
    yield from (malformed(name, altered(change)) for name, change in changes.items())
    for name, old, new in _PROOFS:
        yield malformed(name, _proof(lambda text, old=old, new=new: text.replace(old, new, 1)))


_HASH = Receipt.decode(RECEIPT.encode()).proof.encode().split("\n")[2]
_PROOFS = (
    ("another header", "@v1", "@v2"),
    ("an extra line", "\nindex", "\nextra AAAA\nindex"),
    ("a signed index", "index 6", "index +6"),
    ("a negative index", "index 6", "index -6"),
    ("an index with a zero before", "index 6", "index 06"),
    ("an index of another script", "index 6", "index \u0666"),
    ("an index in hexadecimal", "index 6", "index 0x6"),
    ("an index with a blank", "index 6", "index 6 "),
    ("an index of 2^53", "index 6", "index 9007199254740992"),
    ("an index of 2^64 more", "index 6", "index 18446744073709551622"),
    ("a carriage return", "index 6\n", "index 6\r\n"),
    ("a hash without padding", _HASH, _HASH.rstrip("=")),
    ("a hash in another spelling", _HASH[-2:] + "\n", chr(ord(_HASH[-2]) + 1) + "=\n"),
    ("a hash over two lines", _HASH, f"{_HASH[:20]}\n{_HASH[20:]}"),
    ("a hash for URLs", _HASH[:1], "_"),
    ("a short hash", _HASH, "AAAA"),
    ("65 hashes", _HASH, "\n".join([_HASH] * 65)),
    ("no line end at the end", "=\n\n\u2014", "=\n\u2014"),
    ("a signature line of another dash", "\n\u2014 ", "\n- "),
    ("a signature line with two blanks", "\n\u2014 ", "\n\u2014  "),
    ("a log's name with a blank behind", f"\u2014 {ANSWER_LOG}", f"\u2014 {ANSWER_LOG}\u0085"),
)


def _of_another_tree() -> Iterator[Case]:
    def refused(name: str, receipt: str, reason: str = "PROOF_INVALID") -> Case:
        return replace(BASE, name=name, receipt=receipt, reason=reason)

    for name in CALLER_FIELDS:
        yield refused(f"{name} exchanged", altered(_exchange(name)))
    yield refused("a salt exchanged", altered(lambda v: v["opened"]["alias"].update(salt="0" * 32)))
    yield refused("two commitments exchanged", altered(_swap_sealed))
    yield refused("a neighbour's index", _proof(lambda text: text.replace("index 6", "index 7")))
    yield refused("an index behind the tree", _proof(lambda t: t.replace("index 6", "index 11")))
    yield refused("a path too short", _proof(lambda text: text.replace(_HASH + "\n", "", 1)))
    yield refused("a path too long", _proof(lambda t: t.replace("\n\n", f"\n{_HASH}\n\n", 1)))
    yield refused("another path", _proof(lambda text: text.replace(_HASH, _root(b"other"))))
    yield refused("a place beyond 32 bits, shifted", _distant(1))
    forged = _noted(lambda n: n.replace("\n11\n", "\n12\n"))
    yield refused("another size", forged, "SIGNATURE_INVALID")
    signed = made(signer=key("registry-log"))
    yield refused("another key", signed, "SIGNATURE_INVALID")
    unknown = made(origin="example.org/other")
    yield refused("a log that is not named", unknown, "LOG_UNKNOWN")
    registry = made(origin=REGISTRY_LOG, signer=key("registry-log"))
    yield refused("the registry's log", registry, "LOG_UNKNOWN")
    witness = _noted(lambda n: n.rpartition("\n\n")[0] + "\n\n" + _witness())
    yield refused("a witness's signature alone", witness, "SIGNATURE_INVALID")
    twice = _noted(lambda n: n + n.rpartition("\n\n")[2])
    yield refused("signed twice", twice, "DOCUMENT_MALFORMED")
    crowd = _noted(lambda n: n + "".join(_witness(f"w{number}") for number in range(100)))
    yield refused("101 signatures", crowd, "DOCUMENT_MALFORMED")


def _exchange(name: str) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        value["opened"][name]["value"] += "0"

    return change


def _swap_sealed(value: dict[str, Any]) -> None:
    """Of two fields that stay sealed, so that only the tree can tell."""
    items = value["commitments"]
    items[12], items[13] = items[13], items[12]


def _root(data: bytes) -> str:
    return base64.b64encode(merkle.leaf_hash(data)).decode("ascii")


def _witness(name: str = "witness.example", size: int = 0) -> str:
    if size:
        return f"\u2014 {name} {base64.b64encode(bytes(size)).decode('ascii')}\n"
    return note.sign_note("a\n", name, key("witness")).rpartition("\n\n")[2]


def _proof(change: Callable[[str], str]) -> str:
    def exchange(value: dict[str, Any]) -> None:
        changed = change(value["proof"])
        assert changed != value["proof"]
        value["proof"] = changed

    return altered(exchange)


def _noted(change: Callable[[str], str]) -> str:
    def exchange(proof: str) -> str:
        head, _, signed = proof.partition("\n\n")
        return f"{head}\n\n{change(signed)}"

    return _proof(exchange)


def _distant(shift: int) -> str:
    """A receipt of an entry far behind the first 2^32, or with its index `shift` too high."""
    index, levels = 0b1011 << 37 | 0b1101, 45
    receipt = Receipt.decode(RECEIPT.encode())
    path = [merkle.leaf_hash(b"sibling %d" % level) for level in range(levels)]
    root = merkle.leaf_hash(receipt.entry)
    for level, sibling in enumerate(path):
        pair = (sibling, root) if index >> level & 1 else (root, sibling)
        root = merkle.node_hash(*pair)
    signed = sign_checkpoint(Checkpoint(ANSWER_LOG, 1 << levels, root), key("answer-log"))
    return replace(receipt, proof=TlogProof(index + shift, tuple(path), signed)).encode().decode()
