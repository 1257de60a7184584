"""The sections that a policy may leave out. Where one says nothing, it is not there."""

from collections.abc import Mapping
from typing import Any

from sealgate.trust import fields
from sealgate.trust.evidence_rules import EvidenceRules
from sealgate.trust.grace import NO_GRACE, Grace
from sealgate.trust.health import Health
from sealgate.trust.ml_dsa import LogCosigners
from sealgate.trust.rights import Right
from sealgate.trust.risk import Risk
from sealgate.trust.screens import Screens
from sealgate.trust.withdrawals import NONE, Withdrawals

_KINDS: Mapping[str, Any] = {
    "risk": Risk,
    "evidence": EvidenceRules,
    "withdrawn": Withdrawals,
    "health": Health,
    "ml_dsa": LogCosigners,
    "screens": Screens,
    "grace": Grace,
}
NAMES = ("rights", *_KINDS)


def to_json(policy: Any) -> dict[str, Any]:
    """Return the sections that a policy has, each from the attribute of its name."""
    found = {name: getattr(policy, name) for name in _KINDS}
    sections: dict[str, Any] = {
        name: value.to_json()
        for name, value in found.items()
        if value not in (None, NONE, NO_GRACE)
    }
    if policy.rights is not None:
        sections["rights"] = [right.to_json() for right in policy.rights]
    return sections


def from_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """Read the sections that a document has, by name. Raises Refusal as each of them does."""
    found = {
        name: kind.from_json(document[name]) for name, kind in _KINDS.items() if name in document
    }
    if "rights" in document:
        found["rights"] = tuple(map(Right.from_json, fields.items(document["rights"])))
    return found
