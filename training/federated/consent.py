"""What a client agrees to when a server asks for its part of a secure sum.

The protocol trusts the server with the members of a group and with what is unmasked. The client
checks:

1. A sum has three clients or more, all of whom must answer, and follows the recipe.
2. The number of keys shown equals the size of the group, and the client's own key is among them.
3. Only the sum of the whole group is unmasked.
4. Rounds are those of the recipe, and none is repeated more often than our server does: each sum
   reveals something about a client's rows.

The client cannot see whether the others are who they claim: nobody vouches for keys
(docs/adr/0033).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sealgate.reasons import Reason, SealgateError
from training.recipe.federated import LEAST_CLIENTS, MODULUS, QUANTA, TRIES, FederatedSection

SETUP, SHARE_KEYS, COLLECT, UNMASK = ("setup", "share_keys", "collect_masked_vectors", "unmask")


class Consent:
    """Checks one sum after another."""

    def __init__(self, asked: FederatedSection) -> None:
        self._asked = asked
        self._group: frozenset[int] = frozenset()
        self._size = 0
        self._tried: Counter[int] = Counter()

    def look_at_round(self, number: int) -> None:
        """Called before each update. Raises SealgateError(SUM_REFUSED)."""
        # 4.
        if not 1 <= number <= self._asked.rounds:
            raise _refused(f"there is no round {number}")
        if self._tried[number] == TRIES:
            raise _refused(f"round {number} was tried {TRIES} times")
        self._tried[number] += 1

    def look(self, own: int, request: Mapping[str, Any]) -> None:
        """`own` is the number that this client goes by. Raises SealgateError(SUM_REFUSED)."""
        stage = request.get("stage")
        if stage == SETUP:
            self._look_at_settings(request)
        elif stage == SHARE_KEYS:
            self._look_at_keys(own, [name for name in request if name != "stage"])
        elif stage == COLLECT:
            self._look_at_whole("shares of others", [own, *request.get("srcs", ())])
        elif stage == UNMASK:
            if request.get("dead_nids"):
                raise _refused("it would take the masks off clients that are gone")
            self._look_at_whole("clients to unmask", request.get("active_nids", ()))
        else:
            raise _refused(f"there is no stage {stage!r}")

    def _look_at_settings(self, request: Mapping[str, Any]) -> None:
        # 1.
        size = request.get("sample_num")
        if not isinstance(size, int) or size < LEAST_CLIENTS:
            raise _refused(f"a sum of {size!r} clients")
        wanted = {
            "share_num": size,
            "threshold": size,
            "clipping_range": self._asked.clip,
            "target_range": QUANTA,
            "mod_range": MODULUS,
            "max_weight": 1.0,
        }
        for name, value in wanted.items():
            if request.get(name) != value:
                raise _refused(f"{name} is {request.get(name)!r}, not {value!r}")
        self._size, self._group = size, frozenset()

    def _look_at_keys(self, own: int, names: Sequence[str]) -> None:
        # 2.
        group = frozenset(int(name) for name in names)
        if len(group) != self._size or len(names) != self._size or own not in group:
            raise _refused(f"keys of {len(group)} clients for a sum of {self._size}")
        self._group = group

    def _look_at_whole(self, what: str, numbers: Sequence[int]) -> None:
        # 3.
        if not self._group or frozenset(numbers) != self._group or len(numbers) != self._size:
            raise _refused(f"the {what} are not the group")


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.SUM_REFUSED, detail)
