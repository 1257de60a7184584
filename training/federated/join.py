"""One client on a machine of its own: `sealgate federate join`.

1. The invitation is read, and the recipe in it. The rows are checked against both before the
   server hears of this client: their shape, range and classes, how many they are, and in a private
   recipe that all rounds fit the budget.
2. The client makes a key, which never leaves the process, and enrols. It trusts the invitation's
   authority alone.
3. It answers the server's messages (`training.federated.client_process`) until the server says that
   the run has ended. A client whose process ends cannot come back into the run: its budget and the
   rounds that it answered are counted in the process.
"""

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sealgate.reasons import Reason, SealgateError
from training.data import Weights
from training.federated.client_process import Node, NodeLink
from training.federated.enrolment import FederationInvitation, new_key
from training.federated.http_requests import FederationServer, FederationState
from training.federated.participant import Consent, FederatedParticipant
from training.federated.shards import check_shard, read_recipe_of, read_shard
from training.steps.progress import Tell

_EVERY, _PATIENCE = 2.0, 60.0


@dataclass(frozen=True, slots=True)
class JoinedRun:
    """How a run ended for one client: the rounds it answered, the digest of the last weights, and
    what it spent of its privacy budget, if there is one.
    """

    rounds: int
    weights: str
    spent: Mapping[str, Any] | None


class _Watch:
    """Asks the server how the run goes, in a thread of its own."""

    def __init__(self, server: FederationServer, place: int, tell: Tell) -> None:
        self._server, self._place, self._tell = server, place, tell
        self.state = FederationState()
        self.over = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        heard = time.monotonic()
        while not self.state.ended and time.monotonic() - heard < _PATIENCE:
            try:
                state = self._server.state(self._place)
                heard = time.monotonic()
                if state.round != self.state.round:
                    self._tell(f"round {state.round}", "has begun")
                self.state = state
            except SealgateError:
                pass
            time.sleep(_EVERY)
        self.over.set()


def join(invitation: FederationInvitation, data: Path, tell: Tell) -> JoinedRun:
    """Take part in one run. Raises what the module's steps raise, FEDERATION_LOST, and what the
    server's run was refused for, such as CLIENTS_TOO_FEW.
    """
    torch.set_num_threads(1)
    # 1.
    asked, key = read_recipe_of(invitation), new_key()
    # The seed orders the rows; nobody else knows it.
    shard = read_shard(data, invitation.rows, secrets.randbits(31))
    check_shard(shard, asked)
    # 2.
    server = FederationServer(invitation)
    place = server.enrol(invitation.request(key))
    tell("enrolled", f"as client {place}, with {len(shard.y)} rows that stay here")
    # 3.
    participant = FederatedParticipant(asked, shard.x, shard.y, invitation.rows.classes, shard.seed)
    allowed, answered = Consent(asked.federated), set[int]()

    def update(weights: Weights, number: int) -> Weights:
        allowed.look_at_round(number)
        found = participant.update(weights, number)
        answered.add(number)
        return found

    link = NodeLink(invitation.server, invitation.authority.encode(), key)
    watch = _Watch(server, place, tell)
    Node(link, update, asked).serve(watch.over.is_set)
    watch.over.wait(_PATIENCE)
    if not watch.state.ended:
        raise SealgateError(Reason.FEDERATION_LOST, invitation.server)
    if watch.state.reason:
        raise SealgateError(Reason.named(watch.state.reason), f"said {invitation.server}")
    return JoinedRun(len(answered), watch.state.weights, participant.spent())
