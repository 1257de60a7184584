"""A receipt out of a log of eleven, under a policy that is in force now, and ways to forge it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, answer_entry
from sealgate.trust.times import format_time
from sealgate.trust.transparency import Checkpoint, TlogProof, merkle, sign_checkpoint
from sealgate.trust.transparency.tiles import Frontier
from tests.support.builders.documents.people import ANSWER_LOG, key, make_policy
from tests.support.builders.documents.vectors import NONCE, SUBJECT_KEY, VALUES

SIZE, INDEX = 11, 6
SALTS = answer_entry.salts(SUBJECT_KEY, NONCE)
ENTRY = answer_entry.leaf(VALUES, SALTS)
ROOT_PEMS = [key(f"root-{number}").public.pem for number in range(3)]


def policy_in_force(**changes: Any) -> Policy:
    """The organisation's policy, issued an hour ago by the clock."""
    now = datetime.now(UTC)
    times = {"issued": now - timedelta(hours=1), "expires": now + timedelta(days=1)}
    return make_policy(**({name: format_time(time) for name, time in times.items()} | changes))


def proof_of(
    entry: bytes = ENTRY,
    origin: str = ANSWER_LOG,
    signer: str = "answer-log",
    index: int = INDEX,
) -> TlogProof:
    """The proof of `entry` at `index` of a log of SIZE entries."""
    hashes = [merkle.leaf_hash(b"other %d" % number) for number in range(SIZE)]
    hashes[index] = merkle.leaf_hash(entry)
    frontier = Frontier.empty().append(hashes)
    note = sign_checkpoint(Checkpoint(origin, SIZE, frontier.root), key(signer))
    return TlogProof(index, tuple(frontier.inclusion_proof(index)), note)


def receipt(
    proof: TlogProof | None = None,
    fields: tuple[str, ...] | None = None,
    values: tuple[str, ...] = VALUES,
) -> str:
    """The receipt of an entry of these values, by default of ENTRY where `proof_of` puts it;
    with the values of v1, a receipt of v1.
    """
    salts = SALTS[: len(values)]
    entry = answer_entry.leaf(values, salts)
    made = Receipt.of(entry, values, salts, proof or proof_of(entry), fields)
    return made.encode().decode("utf-8")


def altered(change: Callable[[dict[str, Any]], None], text: str | None = None) -> str:
    """A receipt with a change made to its JSON, written canonically again."""
    value = json.loads(text or receipt())
    change(value)
    return canonical.encode(value).decode("utf-8")


def with_proof(old: str, new: str) -> str:
    """A receipt with `old` replaced in the text of its proof."""

    def change(value: dict[str, Any]) -> None:
        assert old in value["proof"]
        value["proof"] = value["proof"].replace(old, new, 1)

    return altered(change)
