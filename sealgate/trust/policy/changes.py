"""The differences between two policies, for the people who sign the new one.

The canonical documents themselves are compared, so no difference can hide: whatever is added to
the format later shows as well.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sealgate.trust.policy.document import Policy

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


def changes(before: Policy, after: Policy) -> tuple[PolicyChange, ...]:
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
