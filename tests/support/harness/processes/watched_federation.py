"""Federated runs whose processes tell a test what they held; run by the Python that has Flower.

run RECIPE FOLDER NODES SERVER   train, with the programs of these names; prints what came of it
telling FOLDER…                  clients that write down each update, in clear, before it leaves
mortal FOLDER…                   clients of which the fourth ends in its second round
failing FOLDER…                  clients of which the fourth fails in its second round
watching FOLDER                  a server that writes down all that it is sent, and each mean
pairing FOLDER                   a server that asks for sums of two
doors                            who gets in, and who does not
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from flwr.app import Message
from flwr.common import bytes_to_ndarray

from sealgate.reasons import SealgateError
from training.federated import client_process, server
from training.federated.flower_fleet import FleetGrid, FlowerFleet
from training.recipe.federated import FederatedRecipe

PLAIN = ("-m", "tests.support.harness.processes.watched_federation")
SEEN: list[dict[str, Any]] = []


class WatchedGrid(FleetGrid):
    """Keeps what clients send, record by record."""

    def __init__(self, fleet: FlowerFleet) -> None:
        super().__init__(fleet)
        self._places = {number: at for at, number in enumerate(fleet.numbers)}

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        sent = list(messages)
        stage = sent[0].content.config_records["secaggplus_configs"]["stage"]
        answers = super().send_and_receive(sent, timeout=timeout)
        for answer in answers:
            SEEN.append(self._seen(stage, answer))
        return answers

    def _seen(self, stage: Any, answer: Message) -> dict[str, Any]:
        content = answer.content
        return {
            "stage": stage,
            "round": int(answer.metadata.group_id),
            "client": self._places[answer.metadata.src_node_id],
            "arrays": sum(len(record) for record in content.array_records.values()),
            "metrics": {name: dict(record) for name, record in content.metric_records.items()},
            "configs": {name: sorted(record) for name, record in content.config_records.items()},
            "masked": content.config_records["secaggplus_configs"].get("masked_params"),
        }


class WatchedRounds(server.FederatedRounds):
    """Keeps the mean of each group, and what was sent; before a round is told of, since the server
    may be ended as soon as its last one is.
    """

    folder: Path

    def follow(self, number: int) -> dict[str, Any]:
        told = super().follow(number)
        for one in SEEN:
            if one["masked"] is not None:
                _, vector = (bytes_to_ndarray(part) for part in one["masked"])
                np.save(self.folder / f"masked-{one['round']}-{one['client']}.npy", vector)
        plain = [{name: value for name, value in one.items() if name != "masked"} for one in SEEN]
        (self.folder / "seen.json").write_text(json.dumps(plain))
        return told

    def _sum(self, number: int, group: tuple[int, ...]) -> np.ndarray | None:
        mean = super()._sum(number, group)
        if mean is not None:
            (places,) = self._places([group])
            name = f"mean-{number}-{'-'.join(map(str, places))}.npy"
            np.save(self.folder / name, mean)
        return mean


def watch(folder: Path) -> None:
    WatchedRounds.folder = folder
    server.FleetGrid, server.FederatedRounds = WatchedGrid, WatchedRounds  # type: ignore[misc]
    server.main(folder)


def pair(folder: Path) -> None:
    def pairs(clients: Sequence[int], *_: Any) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(clients[at : at + 2]) for at in range(0, 6, 2))

    server.draw_groups = pairs
    server.main(folder)


def tell(folder: Path) -> None:
    """A client that keeps its updates in clear, as no real one does."""
    _serve(folder, lambda number, update: np.save(folder / f"plain-{number}.npy", update))


def die(folder: Path) -> None:
    def end(number: int, _: Any) -> None:
        if folder.name == "client-003" and number == 2:
            os._exit(1)

    _serve(folder, end)


def fail(folder: Path) -> None:
    def refuse(number: int, _: Any) -> None:
        if folder.name == "client-003" and number == 2:
            raise ValueError

    _serve(folder, refuse)


def _serve(folder: Path, then: Any) -> None:
    asked = FederatedRecipe.read(folder / "recipe.toml")
    participant = client_process.participant_in(folder, asked)

    def update(weights: np.ndarray, number: int) -> np.ndarray:
        found = participant.update(weights, number)
        (folder / "spent.json").write_text("null")
        then(number, found)
        return found

    client_process.Node(client_process.NodeLink.read(folder), update, asked).serve()


def run(recipe: str, folder: str, nodes: str, served: str) -> None:
    from training.federated.federation import Federation
    from training.federated.launch import NODES, SERVER, ProcessFolders

    programs = [
        real if name == "real" else (*PLAIN, name)
        for name, real in ((nodes, NODES), (served, SERVER))
    ]
    asked = Federation(Path(recipe), Path(folder), lambda *_: None, *programs)
    try:
        _, account, spent = asked.train(asked.material(), ProcessFolders(Path(folder) / "run"))
        print(json.dumps({"account": account, "spent": spent}))
    except SealgateError as refusal:
        print(json.dumps({"refused": refusal.reason.name, "detail": refusal.detail}))


def doors() -> None:
    """Tries the Fleet API as several callers: status codes, or the kind of error, by caller."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from flwr.proto.fleet_pb2 import (
        ActivateNodeRequest,
        PullMessagesRequest,
        RegisterNodeFleetRequest,
    )
    from flwr.proto.node_pb2 import Node
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes
    from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
    from flwr.supernode.fleet_http_client import FleetHttpClient
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

    from sealgate.setup.credentials import CertificateAuthority

    known, strange, second = (ec.generate_private_key(ec.SECP384R1()) for _ in range(3))
    public = {key: public_key_to_bytes(key.public_key()) for key in (known, strange, second)}
    authority, other = (
        CertificateAuthority(name, datetime.now(UTC), timedelta(1)) for name in "ab"
    )
    own = authority.server("server", ("127.0.0.1",))
    found: dict[str, Any] = {}

    def ask(
        who: str, key: Any, root: bytes, method: str, request: Any, plain: bool = False
    ) -> None:
        client = FleetHttpClient.from_server_address(
            address,
            plain,
            None if plain else root,
            [NodeAuthHttpInterceptor(key, key.public_key())],
        )
        try:
            getattr(client, method)(request)
            found[who] = 200
        except httpx.HTTPStatusError as error:
            found[who] = error.response.status_code
        except httpx.TransportError as error:
            found[who] = type(error).__name__

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "server.pem").write_bytes(own.certificate)
        (folder / "key.pem").write_bytes(own.key)
        fleet = FlowerFleet([public[known], public[second]])
        with fleet.serve("127.0.0.1", folder / "server.pem", folder / "key.pem") as address:
            root = authority.pem

            def activation(key: Any) -> Any:
                return ActivateNodeRequest(public_key=public[key], heartbeat_interval=30)

            ask("known", known, root, "ActivateNode", activation(known))
            ask("unknown", strange, root, "ActivateNode", activation(strange))
            ask("impostor", strange, root, "ActivateNode", activation(known))
            registration = RegisterNodeFleetRequest(public_key=public[strange])
            ask("registering", strange, root, "RegisterNode", registration)
            theirs = PullMessagesRequest(node=Node(node_id=fleet.numbers[1]))
            ask("another's post", known, root, "PullMessages", theirs)
            mine = PullMessagesRequest(node=Node(node_id=fleet.numbers[0]))
            ask("own post", known, root, "PullMessages", mine)
            ask("other authority", known, other.pem, "PullMessages", mine)
            ask("without TLS", known, root, "PullMessages", mine, plain=True)
            context = httpx.create_ssl_context(verify=False)
            for path in ("/v1/control/list-runs", "/v1/runtime/push-messages", "/docs"):
                told = {"content-type": PROTOBUF_MEDIA_TYPE}
                answer = httpx.post(f"https://{address}{path}", headers=told, verify=context)
                found[path] = answer.status_code
    print(json.dumps(found))


if __name__ == "__main__":
    word, *rest = sys.argv[1:]
    if word == "run":
        run(*rest)
    elif word == "doors":
        doors()
    elif word in ("watching", "pairing"):
        {"watching": watch, "pairing": pair}[word](Path(rest[0]))
    else:
        client_process.main(
            [Path(each) for each in rest], {"telling": tell, "mortal": die, "failing": fail}[word]
        )
