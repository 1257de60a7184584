"""The client process: `python -m training.federated.client_process FOLDER…`, one client per folder.

    FOLDER/recipe.toml        the client's own copy: what it agrees to
    FOLDER/shard.safetensors  its rows, x and y, which leave the process only in the update
    FOLDER/key.pem            the key that signs its requests (P-384)
    FOLDER/server.pem         the authority that vouches for the server
    FOLDER/address.json       {"address": "host:port", "classes": 10, "seed": 3}

It uses Flower's own connection (TLS, signed requests) and runs Flower's SecAgg+ between two layers
of ours: `training.federated.participant` outside, which refuses what would not be a sum, and a
second mask on the update inside. Flower's SuperNode would fetch the code that the server names and
start a process for each message; this process runs its own code.
"""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flwr.app import Context, Error, Message, RecordDict
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.client.mod.secure_aggregation.secaggplus_mod import SecAggPlusState
from flwr.clientapp import ClientApp
from flwr.common import bytes_to_ndarray, ndarray_to_bytes
from flwr.common.constant import ErrorCode
from flwr.common.secure_aggregation.secaggplus_constants import (
    RECORD_KEY_CONFIGS,
    RECORD_KEY_STATE,
    Key,
)
from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPushError,
    pull_and_inflate_object_from_tree,
)
from flwr.supernode.fleet_http_connection import http_request_response
from safetensors.numpy import load_file

from sealgate.reasons import Reason, SealgateError
from training.data import Weights
from training.federated.aggregation import mask
from training.federated.participant import COLLECT, Consent, FederatedParticipant
from training.recipe.federated import FederatedRecipe

# Between questions for messages: each is a signed request.
_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
Update = Callable[[Weights, int], Weights]


class _Client(NumPyClient):
    """The update in the form of Flower's protocol; the number of rows and figures are withheld."""

    def __init__(self, update: Update) -> None:
        self._update = update

    def fit(
        self, parameters: list[Weights], config: dict[str, Any]
    ) -> tuple[list[Weights], int, dict]:
        (weights,) = parameters
        return [self._update(weights, int(config["round"]))], 1, {}


def client_app(update: Update, consent: Consent) -> ClientApp:
    """Flower's app of one client: consent, second mask, SecAgg+, and what `update` computes."""

    def agree(message: Message, context: Context, go_on: Any) -> Message:
        asked = message.content.config_records[RECORD_KEY_CONFIGS]
        consent.look(message.metadata.dst_node_id, asked)
        return go_on(message, context)

    return ClientApp(
        client_fn=lambda context: _client(context, update),
        mods=[agree, _mask_again, secaggplus_mod],
    )


def _client(context: Context, update: Update) -> Any:
    return _Client(update).to_client()


def _mask_again(message: Message, context: Context, go_on: Any) -> Message:
    stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
    reply = go_on(message, context)
    if stage != COLLECT:
        return reply
    state = SecAggPlusState(**context.state.config_records[RECORD_KEY_STATE])
    others = {
        number: keys[0] for number, keys in state.public_keys_dict.items() if number != state.nid
    }
    record = reply.content.config_records[RECORD_KEY_CONFIGS]
    vectors = [bytes_to_ndarray(part) for part in record[Key.MASKED_PARAMETERS]]
    masked = mask(vectors, state.nid, state.sk1, others)
    record[Key.MASKED_PARAMETERS] = [ndarray_to_bytes(part) for part in masked]
    return reply


@dataclass(frozen=True, slots=True)
class NodeLink:
    """Where a client's server is (host:port), the authority that vouches for it (PEM), and the
    client's registered key (P-384).
    """

    address: str
    authority: bytes
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Of a client's folder."""
        key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SealgateError(Reason.KEY_UNREADABLE, "not an elliptic curve's key")
        told = json.loads((folder / "address.json").read_bytes())
        return cls(told["address"], (folder / "server.pem").read_bytes(), key)


class Node:
    """One client: answers the server's messages one after another until it is ended."""

    def __init__(self, link: NodeLink, update: Update, asked: FederatedRecipe) -> None:
        self._link = link
        self._app = client_app(update, Consent(asked.federated))
        self._contexts: dict[int, Context] = {}

    def serve(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Until `ended`, the process is ended, or the server is gone for half a minute."""
        with http_request_response(
            self._link.address,
            insecure=False,
            root_certificates=self._link.authority,
            authentication_keys=(self._link.key, self._link.key.public_key()),
            max_wait_time=30.0,
        ) as (number, receive, send, _, _, pull, push, confirm):
            pause = _PAUSE
            while not ended():
                received = receive()
                if received is None:
                    time.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
                pause = _PAUSE
                message, tree = received
                run = message.metadata.run_id
                content = pull_and_inflate_object_from_tree(
                    tree,
                    lambda name, run=run: pull(run, name),
                    lambda name, run=run: confirm(run, name),
                    return_type=Message,
                )
                content.metadata.__dict__["_message_id"] = tree.object_id
                began = time.monotonic()
                reply = self._answer(content, run, number)
                self._send(reply, time.monotonic() - began, send, push)

    def _answer(self, message: Message, run: int, number: int) -> Message:
        context = self._contexts.setdefault(run, Context(run, number, {}, RecordDict(), {}))
        try:
            return self._app(message, context)
        except Exception as error:
            # The server learns only that this client failed, whether in Flower's code or ours.
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, ""), reply_to=message)

    def _send(self, reply: Message, seconds: float, send: Any, push: Any) -> None:
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            wanted, session = send(reply, get_object_tree(reply), seconds)
            objects = get_all_nested_objects(reply)
            for name in wanted:
                # Answers share their smallest parts. One that another client brought may have been
                # read, with this whole answer, before this client comes to push it.
                with suppress(ObjectPushError):
                    push(reply.metadata.run_id, session, name, objects[name].deflate())


def participant_in(folder: Path, asked: FederatedRecipe) -> FederatedParticipant:
    """The client whose rows are in `folder`."""
    told = json.loads((folder / "address.json").read_bytes())
    shard = load_file(folder / "shard.safetensors")
    return FederatedParticipant(asked, shard["x"], shard["y"], told["classes"], told["seed"])


def run(folder: Path) -> None:
    """Serve as the client of one folder, and keep there what each round spent of the budget."""
    torch.set_num_threads(1)
    asked = FederatedRecipe.read(folder / "recipe.toml")
    participant = participant_in(folder, asked)

    allowed = Consent(asked.federated)

    def update(weights: Weights, number: int) -> Weights:
        allowed.look_at_round(number)
        try:
            return participant.update(weights, number)
        finally:
            (folder / "spent.json").write_text(json.dumps(participant.spent()))

    Node(NodeLink.read(folder), update, asked).serve()


def main(folders: list[Path], run_one: Callable[[Path], None] = run) -> None:
    """A process for each folder. They are forked, so that torch is loaded once, and none outlives
    who started them.
    """
    start_parent_process_monitor(os.getppid())
    context, own = multiprocessing.get_context("fork"), os.getpid()
    forks = [context.Process(target=_fork, args=(run_one, each, own)) for each in folders]
    for fork in forks:
        fork.start()
    for fork in forks:
        fork.join()


def _fork(run_one: Callable[[Path], None], folder: Path, parent: int) -> None:
    start_parent_process_monitor(parent)
    run_one(folder)


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
