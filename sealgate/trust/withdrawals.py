"""Keys that the roots have withdrawn: from which place in the registry's log on they count no more.

A signature's time is its place in the log, and a document that was there before is named: whoever
holds a withdrawn key can date a new document back, but cannot have it named by the roots.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sealgate.trust import fields
from sealgate.trust.digest import check_digest
from sealgate.trust.policy_parts import invalid


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """`since` is the log's index from which on the key counts no more; 0: it never counted.

    `stands` are the digests of what it signed before, and still vouches for: of promotions' and
    rollbacks' pointers, and of versions; sorted.
    """

    since: int
    stands: tuple[str, ...]

    def __post_init__(self) -> None:
        fields.integer(self.since)
        if list(fields.unique(self.stands)) != sorted(map(check_digest, self.stands)):
            raise fields.malformed("what stands is not sorted")
        if self.stands and not self.since:
            raise invalid("something stands that a key signed which never counted")


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """The section `withdrawn` of a policy, by key id. Raises Refusal like `Policy`."""

    keys: Mapping[str, Withdrawal]

    def check_keys(self, free: Collection[str]) -> None:
        """Check that each key is one of `free`: listed, nobody's, and not the root's."""
        if not set(self.keys) <= set(free):
            raise invalid("a withdrawn key must be listed, nobody's, and not the root's")

    def check_follows(self, before: "Withdrawals", listed: Collection[str]) -> None:
        """Check that this takes nothing of `before` back, of the keys that are still listed.

        Raises Refusal(POLICY_INVALID).
        """
        for keyid, old in before.keys.items():
            new = self.keys.get(keyid)
            kept = new and new.since <= old.since and set(new.stands) <= set(old.stands)
            if keyid in listed and not kept:
                raise invalid(f"it takes back that the key {keyid} was withdrawn")

    def vouches(self, keyid: str, digest: str) -> bool:
        """Whether the key still vouches for the document of that digest."""
        withdrawal = self.keys.get(keyid)
        return withdrawal is None or digest in withdrawal.stands

    def to_json(self) -> dict[str, Any]:
        return {
            keyid: {"since": item.since, "stands": list(item.stands)}
            for keyid, item in self.keys.items()
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        keys = {}
        if not value:
            raise fields.malformed("a section that withdraws nothing")
        for keyid, item in fields.mapping(value).items():
            inner = fields.record(item, ("since", "stands"))
            keys[keyid] = Withdrawal(inner["since"], fields.texts(inner["stands"]))
        return cls(keys)


NONE = Withdrawals({})
