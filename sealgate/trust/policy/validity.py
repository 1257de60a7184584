"""Validity of a policy and of the keys that it names: its grace, withdrawn and former keys.

The section `grace`, `{"seconds": 604800}`, says for how long after `expires` existing things
continue: answers, freshness statements, rollbacks, revocations. During it, nothing new is promoted,
and the gateway reports that the policy has expired. Without the section everything ends at
`expires`.

The section `withdrawn` names keys and the log index from which each counts no more. A signature's
time is its place in the log, and earlier documents that still count are named: someone who holds a
withdrawn key can backdate a document, but can't have it named by the roots.

    "former_logs": {"house/answers": [{"key": "house/answers+1f…+AU…", "size": 4711}]}

`logs` names the key of each log now. A former key still vouches for the checkpoints that it signed:
of at most `size` entries where that is stated, which the hand-over in the registry's log tells.
Without `size`, as while a key is being replaced, it vouches for every checkpoint. Where the log
signs with ML-DSA too (section `ml_dsa`), that key stays, and must have signed beside a former one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.canonical import check_digest
from sealgate.trust.policy.principals import invalid
from sealgate.trust.times import CLOCK_SKEW, parse_time
from sealgate.trust.transparency.checkpoint import former_line
from sealgate.trust.transparency.note import Verifier

LONGEST = timedelta(days=30)
_MOST = 32


@dataclass(frozen=True, slots=True)
class GracePeriod:
    """The grace period after `expires`, in seconds; see the module.

    Raises SealgateError: DOCUMENT_MALFORMED, or POLICY_INVALID beyond LONGEST.
    """

    seconds: int

    def __post_init__(self) -> None:
        if fields.integer(self.seconds) > LONGEST.total_seconds():
            raise invalid(f"its grace is longer than {LONGEST.days} days")

    def to_json(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(fields.integer(fields.record(value, ("seconds",))["seconds"], 1))


NO_GRACE_PERIOD = GracePeriod(0)


def check_unexpired(expires: str, now: datetime) -> None:
    """Check anything new: raises SealgateError(POLICY_EXPIRED) from `expires` on, whatever the
    grace period.
    """
    if now >= parse_time(expires):
        raise SealgateError(Reason.POLICY_EXPIRED, f"at {expires}")


def check_standing(expires: str, grace: GracePeriod, now: datetime) -> None:
    """Check anything existing: raises SealgateError(POLICY_EXPIRED) after the grace period."""
    # A policy may end on the last day that there is, so nothing is added to that.
    check_unexpired(expires, now - timedelta(seconds=grace.seconds))


def check_begun(issued: str, now: datetime) -> None:
    """Raises SealgateError(POLICY_INVALID) where `issued` lies ahead.

    No clock is believed that is behind a signed time, so such a policy would end every shorter
    statement at once, and permanently.
    """
    if parse_time(issued) > now + CLOCK_SKEW:
        raise invalid(f"it is issued at {issued}, which is to come")


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
            raise fields.malformed("the digests in `stands` are not sorted")
        if self.stands and not self.since:
            raise invalid("something stands that a key signed which never counted")


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """The section `withdrawn` of a policy, by key id. Raises SealgateError like `Policy`."""

    keys: Mapping[str, Withdrawal]

    def check_keys(self, free: Collection[str]) -> None:
        """Check that each key is one of `free`: listed, nobody's, and not the root's."""
        if not set(self.keys) <= set(free):
            raise invalid("a withdrawn key must be listed, nobody's, and not the root's")

    def check_follows(self, before: "Withdrawals", listed: Collection[str]) -> None:
        """Check that this takes nothing of `before` back, of the keys that are still listed.

        Raises SealgateError(POLICY_INVALID).
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


NO_WITHDRAWALS = Withdrawals({})


@dataclass(frozen=True, slots=True)
class FormerLogKey:
    """A verifier key, and for how many entries it vouches at most; None: for any number."""

    key: str
    size: int | None = None

    def __post_init__(self) -> None:
        Verifier.from_vkey(self.key)
        if self.size is not None:
            fields.integer(self.size)

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key} | ({} if self.size is None else {"size": self.size})

    @classmethod
    def from_json(cls, value: object) -> Self:
        names = ("key", "size") if "size" in fields.mapping(value) else ("key",)
        return cls(**fields.record(value, names))

    def line(self, beside: str | None) -> str:
        """Its line of the text that `open_checkpoint` takes, with the log's ML-DSA key, if any."""
        return former_line(f"{self.key} {beside}" if beside else self.key, self.size)


@dataclass(frozen=True, slots=True)
class FormerLogKeys:
    """Former keys by the origin of their log, the newest first. Raises SealgateError like
    `Policy`.
    """

    keys: Mapping[str, tuple[FormerLogKey, ...]]

    def __post_init__(self) -> None:
        for origin, former in self.keys.items():
            if not 0 < len(former) <= _MOST:
                raise invalid(f"a log has 1 to {_MOST} former keys, or none is listed")
            if any(Verifier.from_vkey(each.key).name != origin for each in former):
                raise invalid("a former key under another log's name")
            if len({each.key for each in former}) != len(former):
                raise invalid("a former key is listed twice")

    def check(self, logs: Mapping[str, str]) -> None:
        """Check them against the keys of the logs now. Raises SealgateError(POLICY_INVALID)."""
        for origin, former in self.keys.items():
            if origin not in logs:
                raise invalid("a former key of a log that is not named")
            if logs[origin] in {each.key for each in former}:
                raise invalid("a log's key is listed among its former ones")

    def to_json(self) -> dict[str, Any]:
        return {origin: [each.to_json() for each in former] for origin, former in self.keys.items()}

    @classmethod
    def from_json(cls, value: object) -> Self:
        found = fields.mapping(value)
        return cls(
            {
                origin: tuple(map(FormerLogKey.from_json, fields.items(former)))
                for origin, former in found.items()
            }
        )
