"""A check of a receipt as a value, and what the Python client says of it."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sealgate.client.request import ExpectedReceipt, PinnedRoots, PolicyView, check_receipt
from sealgate.reasons import SealgateError
from sealgate.trust import canonical
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, answer_entry
from sealgate.trust.receipts.answer_entry import V1_FIELDS
from sealgate.trust.times import parse_time
from sealgate.trust.transparency import Checkpoint, TlogProof, merkle, sign_checkpoint
from sealgate.trust.transparency.tiles import Frontier
from tests.support.builders.documents import vectors
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    at,
    key,
    make_policy,
    sign_policy,
)

SIZE, INDEX = 11, 6
CHARACTERS = '0123456789abcdefABZ+/=\\n "{}[]:,.-é\u2014\u0085\ufeff😀'


@dataclass(frozen=True)
class Case:
    """A check: its documents, what the caller knows, and the reason (empty: it is accepted)."""

    name: str
    receipt: str
    policies: tuple[str, ...]
    fields: Mapping[str, str]
    reason: str = ""
    root_keys: tuple[str, ...] = tuple(key(f"root-{number}").public.pem for number in range(3))
    threshold: int = 2
    now: str = at()
    since: str = at()
    until: str = at()
    unsafe_v1: bool = False


POLICY = make_policy()
ENVELOPE = sign_policy(POLICY).encode().decode()
EXPECTED = dict(zip(answer_entry.FIELDS, vectors.VALUES, strict=True), policy_digest=POLICY.digest)
_KNOWN = ("principal", "method", "model", "alias", "input", "output", "parameters", "request_id")


def known(values: Mapping[str, str] = EXPECTED) -> dict[str, str]:
    """The values that a caller knows of its own call."""
    return {name: values[name] for name in _KNOWN}


def made(
    values: Mapping[str, str] = EXPECTED,
    index: int = INDEX,
    size: int = SIZE,
    opening: tuple[str, ...] | None = None,
    origin: str = ANSWER_LOG,
    signer: Signer | None = None,
) -> str:
    """The receipt of an entry of these values at `index` of a log of `size`."""
    salts = answer_entry.salts(vectors.SUBJECT_KEY, vectors.NONCE, len(values))
    entry = answer_entry.leaf(tuple(values.values()), salts)
    hashes = [merkle.leaf_hash(b"other %d" % number) for number in range(size)]
    hashes[index] = merkle.leaf_hash(entry)
    frontier = Frontier.empty().append(hashes)
    signed = sign_checkpoint(Checkpoint(origin, size, frontier.root), signer or key("answer-log"))
    proof = TlogProof(index, tuple(frontier.inclusion_proof(index)), signed)
    return Receipt.of(entry, tuple(values.values()), salts, proof, opening).encode().decode()


RECEIPT = made()
BASE = Case("an answer", RECEIPT, (ENVELOPE,), known())
V1_EXPECTED = {name: EXPECTED[name] for name in V1_FIELDS}


def altered(change: Callable[[dict[str, Any]], Any]) -> str:
    """The receipt with a change made to its JSON, written canonically again."""
    value = json.loads(RECEIPT)
    change(value)
    return canonical.encode(value).decode()


def alterations(text: str, count: int, seed: int = 20) -> list[str]:
    """The text with a character exchanged, left out, put in or doubled, at random places."""
    dice = random.Random(seed)  # noqa: S311
    made = []
    while len(made) < count:
        place, new = dice.randrange(len(text)), dice.choice(CHARACTERS)
        other = dice.choice([new, new, "", new + text[place], text[place] * 2])
        made += [text[:place] + other + text[place + 1 :]] * (other != text[place])
    return made


def signed_by(policy: Policy, *signers: str) -> str:
    """The policy's envelope as text, by two roots unless told otherwise."""
    return sign_policy(policy, *signers).encode().decode()


def verdict(case: Case) -> str:
    """The Python client's verdict: a reason, or nothing where it accepts."""
    values = {name: (value,) for name, value in case.fields.items()}
    since, until = parse_time(case.since), parse_time(case.until)
    try:
        roots = PinnedRoots.of(case.root_keys, case.threshold)
        envelopes = [policy.encode() for policy in case.policies]
        view = PolicyView.open(envelopes, roots, parse_time(case.now), 0)
        expected = ExpectedReceipt(values, since, until, case.unsafe_v1)
        check_receipt(case.receipt.encode("utf-8", "surrogateescape"), view, expected)
    except SealgateError as refusal:
        return refusal.reason.name
    return ""
