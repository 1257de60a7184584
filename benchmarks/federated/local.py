"""Server and clients of a federated recipe in one process: Flower's workflow and apps, and nothing
between them. What is added up, and how, is as between processes; only the way there is left out.
"""

import copy
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.supercore.task_identity import TaskIdentity

from training.data.run_files import Weights
from training.federated.consent import Consent
from training.federated.node import Update, client_app
from training.federated.server import FederatedRounds
from training.recipe.federated import FederatedSection

_RUN = 1


@dataclass(frozen=True, slots=True)
class _Run:
    run_id: int = _RUN


class LocalGrid:
    """Hands messages to the clients' apps, and their answers back."""

    def __init__(self, asked: FederatedSection, updates: Sequence[Update]) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id = _RUN, SUPERLINK_NODE_ID
        TaskIdentity.task_id = _RUN
        self.run, self.silent = _Run(), set[int]()
        # Numbers that no two clients share, and the server does not have.
        self.numbers = tuple(range(101, 101 + len(updates)))
        self._apps = {
            number: client_app(update, Consent(asked))
            for number, update in zip(self.numbers, updates, strict=True)
        }
        self._contexts = {
            number: Context(_RUN, number, {}, RecordDict(), {}) for number in self.numbers
        }
        self._one = threading.Lock()

    def get_node_ids(self) -> Iterable[int]:
        return self.numbers

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        with self._one:
            return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        number = message.metadata.dst_node_id
        sent: Any = copy.deepcopy(message)
        sent.metadata.__dict__["_message_id"] = message.object_id
        try:
            return self._apps[number](sent, self._contexts[number])
        except Exception as error:
            print(f"client {self.numbers.index(number)}: {error!r}")
            self.silent.add(number)
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, ""), reply_to=sent)


def follow(asked: FederatedSection, weights: Weights, updates: Sequence[Update]) -> Weights:
    """The weights after all rounds. Raises CLIENTS_TOO_FEW."""
    grid = LocalGrid(asked, updates)
    rounds = FederatedRounds(asked, weights, grid, grid.numbers)
    for number in range(1, asked.rounds + 1):
        rounds.follow(number)
    return rounds.weights
