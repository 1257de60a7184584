"""The chain of policies: how trust passes from pinned root keys to the policy in force.

1. The first policy is signed by `threshold` of the reader's own root keys, and by its own root.
2. Each further policy is signed by its predecessor's root and by its own.
3. Versions grow by one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy.document import Policy
from sealgate.trust.policy.principals import invalid


def open_policy(
    envelope: Envelope, root_keys: Mapping[str, PublicKey], threshold: int, now: datetime
) -> Policy:
    """Return the policy of an envelope that `threshold` of `root_keys` (by key id) have signed.

    Raises SealgateError: SIGNATURE_INVALID, THRESHOLD_NOT_MET, POLICY_EXPIRED, or like `Policy`.
    """
    return open_policy_chain([envelope], root_keys, threshold, now)


def next_policy(current: Policy, envelope: Envelope, now: datetime) -> Policy:
    """Return the successor of `current`, which need not be unexpired itself.

    Raises SealgateError: POLICY_ROLLED_BACK for a version that is not newer, POLICY_INVALID for one
    that leaves a version out or is issued in the future, and like `open_policy`.
    """
    successor = _follow(current, envelope)
    successor.check_unexpired(now)
    successor.check_begun(now)
    return successor


def open_policy_chain(
    envelopes: Sequence[Envelope],
    root_keys: Mapping[str, PublicKey],
    threshold: int,
    now: datetime,
) -> Policy:
    """Follow the envelopes, oldest first, and return the newest policy.

    Raises like `open_policy_history`, and SealgateError(POLICY_EXPIRED) for the newest policy
    alone.
    """
    newest = open_policy_history(envelopes, root_keys, threshold)[-1]
    newest.check_standing(now)
    return newest


def open_policy_history(
    envelopes: Sequence[Envelope], root_keys: Mapping[str, PublicKey], threshold: int
) -> tuple[Policy, ...]:
    """Follow the envelopes, oldest first, and return every policy, expired or not.

    1. The first is signed by `threshold` of the reader's own root keys, and by its own root.
    2. Each further one is signed by its predecessor's root and by its own.
    3. Versions grow by one.

    Raises SealgateError: POLICY_INVALID for no envelope, and like `open_policy` and `next_policy`.
    """
    if not envelopes:
        raise invalid("there is no policy")
    # 1.
    dsse.verify(envelopes[0], Policy.PAYLOAD_TYPE, root_keys, threshold)
    history = [Policy.decode(envelopes[0].payload)]
    _check_own_root(history[0], envelopes[0])
    # 2. and 3.
    for envelope in envelopes[1:]:
        history.append(_follow(history[-1], envelope))
    return tuple(history)


def _follow(current: Policy, envelope: Envelope) -> Policy:
    dsse.verify(envelope, Policy.PAYLOAD_TYPE, current.root_keys(), current.root.threshold)
    successor = Policy.decode(envelope.payload)
    _check_own_root(successor, envelope)
    check_next_version(current, successor)
    listed = {*successor.keys, *successor.webauthn.keys}
    successor.withdrawn.check_follows(current.withdrawn, listed)
    return successor


def check_next_version(current: Policy, successor: Policy) -> None:
    """Raises SealgateError: POLICY_ROLLED_BACK for one that is not newer, POLICY_INVALID for a
    gap.
    """
    detail = f"version {successor.version} after {current.version}"
    if successor.version <= current.version:
        raise SealgateError(Reason.POLICY_ROLLED_BACK, detail)
    if successor.version != current.version + 1:
        raise invalid(detail)


def _check_own_root(policy: Policy, envelope: Envelope) -> None:
    dsse.verify(envelope, Policy.PAYLOAD_TYPE, policy.root_keys(), policy.root.threshold)


_LEAST = object()


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """`before` or `after` is empty where something is added or removed. Both are JSON."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"+ {self.path}: {self.after}"
        if not self.after:
            return f"- {self.path}: {self.before}"
        return f"~ {self.path}: {self.before} -> {self.after}"


def policy_changes(before: Policy, after: Policy) -> tuple[PolicyChange, ...]:
    """Return every difference, sorted by path; none where the documents are the same.

    Principals are compared by name, other lists by what they hold: one whose order alone differs is
    shown whole.
    """
    documents = (json.loads(policy.encode()) for policy in (before, after))
    old, new = (document | {"principals": _by_name(document)} for document in documents)
    found = list(_differences("", old, new))
    orders = [list(document["principals"]) for document in (old, new)]
    if orders[0] != orders[1] and set(orders[0]) == set(orders[1]):
        found.append(PolicyChange("principals", *map(_text, orders)))
    return tuple(sorted(found, key=lambda change: change.path))


def _by_name(document: dict[str, Any]) -> dict[str, Any]:
    return {person["name"]: person for person in document["principals"]}


def _differences(path: str, old: Any, new: Any) -> Iterator[PolicyChange]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {*old, *new}:
            inner = f"{path}.{name}" if path else name
            yield from _differences(inner, old.get(name, _LEAST), new.get(name, _LEAST))
    elif isinstance(old, list) and isinstance(new, list):
        gone = [item for item in old if item not in new]
        come = [item for item in new if item not in old]
        yield from (PolicyChange(path, _text(item), "") for item in gone)
        yield from (PolicyChange(path, "", _text(item)) for item in come)
        if not gone and not come:
            yield PolicyChange(path, _text(old), _text(new))
    else:
        yield PolicyChange(path, _text(old), _text(new))


def _text(value: Any) -> str:
    return "" if value is _LEAST else json.dumps(value, ensure_ascii=True)
