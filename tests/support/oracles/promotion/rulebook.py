"""The rules of a small organisation, from which its signed policies are made.

The oracle judges by these plain values, never by the policy that the code under test reads.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PrivateKey
from sealgate.trust.policy import Policy, PolicyRoot, PolicyRules, Principal, Right
from sealgate.trust.policy.validity import GracePeriod, Withdrawal, Withdrawals
from sealgate.trust.times import format_time
from sealgate.trust.transparency import note
from tests.support.builders.documents import people
from tests.support.builders.documents.people import ANSWER_LOG, NOW, REGISTRY_LOG

ROOTS = ("root-0", "root-1", "root-2")
THRESHOLD = 2
MODEL_KEY = "paula/model"
"""The P-256 key with which Paula signs models."""


@dataclass(frozen=True, slots=True)
class Person:
    """The roles of a person or service, and the names of the keys."""

    roles: frozenset[str]
    keys: tuple[str, ...]


def _person(roles: str, *keys: str) -> Person:
    return Person(frozenset(roles.split()), keys)


PEOPLE = MappingProxyType(
    {
        # Paula may approve too, but not what she published or proposed.
        "paula": _person("publisher approver", "paula", MODEL_KEY),
        # Anna has two keys, and is one person.
        "anna": _person("approver", "anna", "anna-2"),
        "arne": _person("approver", "arne"),
        "abel": _person("approver", "abel"),
        "otto": _person("admin", "otto"),
        "olga": _person("admin", "olga"),
        "guard": _person("rollback", "guard"),
        "fresh": _person("freshness", "fresh"),
    }
)


@functools.cache
def signing_key(name: str) -> PrivateKey:
    """A fixed key for each name."""
    return people.p256_key(name) if name.endswith("/model") else people.key(name)


@dataclass(frozen=True)
class Rulebook:
    """The rules of one policy.

    `retired` keys are listed though nobody has them any more; of a withdrawn key only the documents
    of these digests still count. `grace` is the policy's own, in seconds.
    """

    version: int = 1
    issued: datetime = NOW - timedelta(days=1)
    expires: datetime = NOW + timedelta(days=300)
    people: Mapping[str, Person] = field(default_factory=lambda: PEOPLE)
    retired: frozenset[str] = frozenset()
    withdrawn: Mapping[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    approvals: Mapping[str, int] = field(
        default_factory=lambda: {"production": 2, "canary": 1, "shadow": 1}
    )
    freshness_seconds: int = 3600
    grace_seconds: int = 600
    grace: int = 0

    @property
    def listed(self) -> frozenset[str]:
        """The names of all keys that the policy lists."""
        held = {key for person in self.people.values() for key in person.keys}
        return frozenset(held | set(ROOTS) | self.retired)

    @property
    def end(self) -> datetime:
        """When nothing is answered any more under this policy."""
        return self.expires + timedelta(seconds=self.grace)

    def keys_of(self, person: str, *roles: str) -> frozenset[str]:
        """The keys of a person who has one of the roles; none for anyone else."""
        found = self.people.get(person)
        if found is None or found.roles.isdisjoint(roles):
            return frozenset()
        return frozenset(found.keys)

    def counts(self, key: str, digest: str) -> bool:
        """Whether the key still vouches for the document of that digest."""
        if key not in self.listed:
            return False
        return key not in self.withdrawn or digest in self.withdrawn[key][1]

    def needed(self, alias: str, share: int) -> int:
        """How many people must approve."""
        if alias == "canary" and share:
            return max(self.approvals["canary"], self.approvals["production"])
        return self.approvals[alias]

    def without(self, person: str, *, retired: bool) -> "Rulebook":
        """The next rulebook, in which the person is gone; the keys stay listed if `retired`."""
        keys = self.people[person].keys if retired else ()
        rest = {name: item for name, item in self.people.items() if name != person}
        return replace(
            self, version=self.version + 1, people=rest, retired=self.retired | set(keys)
        )

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the policy that says this."""
        return self.policy.digest

    @functools.cached_property
    def policy(self) -> Policy:
        """The policy that says this."""
        keys = {name: signing_key(name).public for name in self.listed}
        ids = {name: public.keyid for name, public in keys.items()}
        marks = {ids[key]: Withdrawal(*item) for key, item in self.withdrawn.items()}
        return Policy(
            version=self.version,
            issued=format_time(self.issued),
            expires=format_time(self.expires),
            keys={public.keyid: public for public in keys.values()},
            root=PolicyRoot(tuple(ids[name] for name in ROOTS), THRESHOLD),
            principals=tuple(
                Principal(name, tuple(sorted(item.roles)), tuple(ids[k] for k in item.keys), ())
                for name, item in self.people.items()
            ),
            rules=PolicyRules(
                dict(self.approvals), "block", "flag", self.freshness_seconds, self.grace_seconds
            ),
            registry_log=note.vkey(REGISTRY_LOG, signing_key("registry-log").public),
            rights=self._rights(),
            answer_logs=(note.vkey(ANSWER_LOG, signing_key("answer-log").public),),
            withdrawn=Withdrawals(marks),
            grace=GracePeriod(self.grace),
        )

    def _rights(self) -> tuple[Right, ...]:
        """Olga may revoke versions of every model, Otto those of one."""
        models = {"olga": "*", "otto": "digits"}
        return tuple(
            Right((name,), (), ("revoke",), (model,), ("*",))
            for name, model in models.items()
            if name in self.people
        )

    def signed(self, *roots: str) -> Envelope:
        """The policy's envelope, by two roots unless told otherwise."""
        return people.sign_policy(self.policy, *roots)
