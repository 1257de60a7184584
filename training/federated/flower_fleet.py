"""Flower's Fleet API for clients, over TLS, in this process.

`flower-superlink` would also open the APIs that start runs and load code, and its free edition does
not authenticate their callers; here only what clients need is open. Each client signs its requests
with its registered key; unknown keys are refused.
"""

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID
from flwr.server.superlink.linkstate import LinkState, LinkStateFactory
from flwr.serverapp.grid import Grid
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, TaskType
from flwr.supercore.error import http_error_translator
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from flwr.superlink.routers.fleet.router import router
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import BaseRoute, Mount

from sealgate.reasons import Reason, SealgateError
from training.federated.listener import listener_config

_PAUSE, _BEAT = 0.05, 5.0
_LARGEST = 1 << 26


class FlowerFleet:
    """The clients of one run, each known by its public key (PEM); more may be admitted, up to
    `clients` together. No request may have more than `largest` bytes.
    """

    def __init__(
        self, keys: Sequence[bytes] = (), largest: int = _LARGEST, clients: int = 0
    ) -> None:
        memory = FLWR_IN_MEMORY_DB_NAME
        self._states = LinkStateFactory(memory, NoOpFederationManager(), ObjectStoreFactory(memory))
        self.state: LinkState = self._states.state()
        self.run = _begin(self.state)
        self.numbers: tuple[int, ...] = ()
        self._largest, self._clients = largest, clients
        for key in keys:
            self.admit(key)

    def admit(self, key: bytes) -> None:
        """One more client, known by its public key (PEM)."""
        number = self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, 0)
        self.numbers += (number,)

    @contextmanager
    def serve(
        self,
        host: str,
        certificate: Path,
        key: Path,
        port: int = 0,
        routes: Sequence[BaseRoute] = (),
    ) -> Iterator[str]:
        """Listen on `host`, on a free port unless one is named, with `routes` before Flower's;
        gives the address, as host:port.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        app = Starlette(routes=[*routes, Mount("/", self._app())])
        clients = max(self._clients, len(self.numbers))
        config = listener_config(app, certificate, key, largest=self._largest, clients=clients)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        over = threading.Event()
        threading.Thread(target=self._keep_running, args=(over,), daemon=True).start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise SealgateError(Reason.INTERNAL, "the server for clients does not start")
                time.sleep(_PAUSE)
            yield f"{host}:{listener.getsockname()[1]}"
        finally:
            over.set()
            server.should_exit = True
            thread.join(timeout=10)

    def _keep_running(self, over: threading.Event) -> None:
        """Flower ends a run that it does not hear of, and clients may take long to come."""
        while not over.wait(_BEAT):
            self.state.acknowledge_task_heartbeat(self.run.primary_task_id)

    def _app(self) -> FastAPI:
        app = FastAPI(
            openapi_url=None,
            middleware=[
                Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
                Middleware(ProtobufTranslationMiddleware),
                Middleware(NodeAuthMiddleware),
            ],
        )
        app.state.linkstate_factory = self._states
        app.state.enable_supernode_auth = True
        app.include_router(router)
        return app


class FleetGrid(Grid):
    """How Flower's workflows send messages to the clients of a `FlowerFleet`.

    `silent` has the numbers of those that once did not answer, or answered with an error.
    """

    def __init__(self, fleet: FlowerFleet) -> None:
        self._state, self._run = fleet.state, fleet.run
        # Announced answers, by the message they answer, while their content is in transit.
        self._arriving: dict[str, Message] = {}
        self.silent: set[int] = set()

    @property
    def run(self) -> Run:
        return self._run

    def set_run(self, run: Run) -> None:
        self._run = run

    def create_message(self, *_: Any, **__: Any) -> Message:
        """Messages are made by their constructor."""
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        """Those that are there."""
        return set(self._state.get_nodes(self._run.run_id))

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Returns their names; those that the link does not take are left out."""
        names = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = message.object_id
            session = self._state.start_session(self._run.run_id)
            with no_object_id_recompute():
                objects = get_all_nested_objects(message)
                stored, missing = self._state.store_message_and_object_tree(
                    remove_content_from_message(message), get_object_tree(message), session
                )
            for name in missing:
                content = objects[name].deflate()
                self._state.store_object(self._run.run_id, session, name, content)
            if stored:
                names.append(message.metadata.message_id)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The answers that have come whole."""
        wanted = set(message_ids)
        unheard = {name for name in wanted if name not in self._arriving}
        for message in self._state.get_message_res(unheard, self._run.run_id) if unheard else ():
            self._arriving[message.metadata.reply_to_message_id] = message
        whole = []
        for name in wanted - unheard:
            message = self._whole(self._arriving[name])
            if message is not None:
                del self._arriving[name]
                whole.append(message)
        return whole

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """The answers that come within `timeout` seconds."""
        every = list(messages)
        waiting = set(self.push_messages(every))
        ends = time.monotonic() + (timeout or float("inf"))
        answers: list[Message] = []
        while waiting and time.monotonic() < ends:
            for answer in self.pull_messages(waiting):
                waiting.discard(answer.metadata.reply_to_message_id)
                answers.append(answer)
            time.sleep(_PAUSE)
        heard = {answer.metadata.src_node_id for answer in answers if not answer.has_error()}
        self.silent |= {message.metadata.dst_node_id for message in every} - heard
        return answers

    def _whole(self, message: Message) -> Message | None:
        """The message with its content, which clients send in parts after it; None until then."""
        name = message.metadata.message_id
        store = self._state.object_store
        parts = [tree.object_id for tree in iterate_object_tree(store.get_object_tree(name))]
        contents = {part: self._state.get_object(self._run.run_id, part) for part in parts}
        if not all(contents.values()):
            return None
        store.delete(name)
        self._state.delete_messages({message.metadata.reply_to_message_id})
        whole: Message = inflate_object_from_contents(name, contents)
        whole.metadata.__dict__["_message_id"] = name
        return whole


def _begin(state: LinkState) -> Run:
    """A run that no app comes with: both sides run what they have."""
    number = state.create_run(
        None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
    )
    (run,) = state.get_run_info(run_ids=[number])
    state.claim_task(run.primary_task_id)
    state.activate_task(run.primary_task_id)
    TaskIdentity.run_id, TaskIdentity.node_id = number, SUPERLINK_NODE_ID
    TaskIdentity.task_id = run.primary_task_id
    (run,) = state.get_run_info(run_ids=[number])
    return run
