"""The section `former_logs` of a policy: keys that logs were signed with before.

    "former_logs": {"house/answers": [{"key": "house/answers+1f…+AU…", "size": 4711}]}

`logs` names the key of each log now. A former key still vouches for the checkpoints that it signed:
of at most `size` entries where that is stated, which the hand-over in the registry's log tells.
Without `size`, as while a key is being replaced, it vouches for every checkpoint. Where the log
signs with ML-DSA too (section `ml_dsa`), that key stays, and must have signed beside a former one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sealgate.trust import fields
from sealgate.trust.policy.principals import invalid
from sealgate.trust.transparency.checkpoint import former_line
from sealgate.trust.transparency.note import Verifier

_MOST = 32


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
