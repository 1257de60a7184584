"""Consequences of callers' sessions: what the policy asks for after a finding, and until when.

A consequence outlasts the rows of its session. A caller who is blocked stays blocked for as long as
the policy says, however many other callers come meanwhile.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from sealgate.trust.policy import Consequence, SessionRules

_STRICTEST_FIRST = (Consequence.BLOCK, Consequence.LABEL_ONLY, Consequence.SLOW, Consequence.ALERT)
_MOST = 65_536


def strictest(actions: Iterable[str]) -> str | None:
    """The strictest of a policy's actions, or None where there is none."""
    return min(actions, key=_STRICTEST_FIRST.index, default=None)


@dataclass(slots=True)
class Consequences:
    """Until when one session has its consequences, by a monotonic clock in seconds. They are over
    where that time has passed.
    """

    search_until: float = 0.0
    extraction_until: float = 0.0

    def action(self, rules: SessionRules, now: float) -> str | None:
        """The action that the policy's `rules` ask for now, if any."""
        actions = [rules.search] if now < self.search_until else []
        actions += [rules.extraction] if now < self.extraction_until else []
        return strictest(actions)

    def apply(self, now: float) -> bool:
        """Whether any of them still does."""
        return now < max(self.search_until, self.extraction_until)


class ForgottenSessions:
    """The consequences of sessions whose rows were forgotten, by caller and model.

    At most `most` are kept; beyond that, the session that was forgotten first loses its
    consequences. It is not safe for threads.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], Consequences] = OrderedDict()

    def keep(self, name: tuple[str, str], ends: Consequences, now: float) -> None:
        """Remember a session's consequences, if any still applies."""
        if ends.apply(now):
            self._kept[name] = ends
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def take(self, name: tuple[str, str]) -> Consequences:
        """The pending consequences for a session that comes back. They are no longer kept here."""
        return self._kept.pop(name, None) or Consequences()
