"""Bodies that are valid but for a few bytes are read or refused, and nothing else happens."""

import json
import random
from collections import Counter

from gateway.transport.http.infer import read_request
from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.tensors import read_inputs

RAW = bytes(range(8))
HEAD = json.dumps(
    {
        "id": "7",
        "parameters": {"receipt": True, "priority": 1, "subject": "\u00e4\ud83d\ude00"},
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [[0.5], [-1e3]]},
            {"name": "y", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}},
            {"name": "z", "datatype": "BYTES", "shape": [2], "data": ["a", "\\u00df"]},
            {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]},
        ],
        "outputs": [{"name": "logits", "parameters": {"binary_data": True}}],
    }
).encode()
BODY = HEAD + RAW
# What JSON and numbers are made of breaks more than other bytes do.
ALPHABET = b'{}[]",:\\-+.eE0123456789untf'
MUTATIONS = 10_000


def mutated(chance: random.Random) -> tuple[bytes, bytes]:
    """The JSON and what comes behind it, with a few bytes changed, added or gone."""
    head, raw = bytearray(HEAD), bytearray(RAW)
    for _ in range(chance.randint(1, 3)):
        part = raw if chance.random() < 0.05 else head
        start, removed = chance.randrange(len(part)), chance.randint(0, 2)
        pool = ALPHABET if chance.random() < 0.8 else bytes(range(256))
        part[start : start + removed] = bytes(
            chance.choice(pool) for _ in range(chance.randint(0, 2))
        )
    return bytes(head), bytes(raw)


def test_a_few_bytes_changed() -> None:
    chance, seen = random.Random(1), Counter[str]()  # noqa: S311
    for _ in range(MUTATIONS):
        head, raw = mutated(chance)
        try:
            request, _ = read_request("m", "", head + raw, str(len(head)))
            read_inputs(request)
            seen["read"] += 1
        except SealgateError as refusal:
            seen[refusal.reason.name] += 1
    assert {Reason[name].kind for name in seen.keys() - {"read"}} == {Kind.INVALID}
    assert seen["read"] > MUTATIONS / 100
    assert len(seen) >= 5, seen


def test_unchanged_it_is_read() -> None:
    request, options = read_request("m", "", BODY, str(len(HEAD)))
    assert set(read_inputs(request)) == {"x", "y", "z", "b"}
    assert options.is_raw("logits")
