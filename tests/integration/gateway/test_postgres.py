"""A gateway whose registry is on PostgreSQL, whose server restarts under load."""

import signal
import threading
from collections import Counter

import grpc
import pytest

from gateway.auth.method_rules import ANYONE, RULES
from registry.storage.postgres import Listener
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.v1 import registry_pb2 as messages
from tests.integration.gateway.test_every_method import METHODS, PEOPLE, invoke
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows
from tests.support.harness.rollouts import await_true
from tests.support.harness.servers.postgres import PostgresServer


@pytest.fixture
def server():
    server = PostgresServer()
    yield server
    server.close()


def new_harness_on(server: PostgresServer, state, *files: str) -> GatewayHarness:
    """A gateway without models that keeps what is named in these files on the server instead."""
    harness = GatewayHarness(state)
    configuration = state / "gateway.toml"
    text = configuration.read_text()
    for file in files:
        assert f'"{file}"' in text
        text = text.replace(f'"{file}"', f'"{server.url}"')
    configuration.write_text(text)
    harness.start()
    return harness


def harness_on(server: PostgresServer, state, *files: str) -> GatewayHarness:
    """The same, with digits 1 in production and 2 registered."""
    harness = new_harness_on(server, state, *files)
    harness.publish("digits-standard", "digits")
    harness.publish("digits-hardened", "digits")
    harness.promote("digits", 1)
    return harness


class Load:
    """Four callers who ask until they are told to stop."""

    def __init__(self, harness: GatewayHarness) -> None:
        self.answers, self.failures = Counter(), Counter()
        self._stub = harness.inference()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._stopping.is_set():
            try:
                answer = self._stub.ModelInfer(question("digits", rows()), timeout=60)
                self.answers[answer.model_version] += 1
            except grpc.RpcError as error:
                self.failures[reason_of(error)] += 1

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_answers_go_on_and_pointers_move_again(server, tmp_path, how):
    harness = harness_on(server, tmp_path / "state", "sqlite:///registry.db")
    try:
        proposal = harness.approved("digits", 2)
        load = Load(harness)
        await_true(lambda: load.answers.total() > 0)
        server.stop(how)
        at_stop = load.answers.total()
        assert (
            refusal(harness.governance("admin").promote, proposal, "test")
            is Reason.REGISTRY_UNAVAILABLE
        )
        await_true(lambda: load.answers.total() > at_stop)
        server.start()
        harness.governance("admin").promote(proposal, "test")
        harness.await_version("digits", 2)
        await_true(lambda: load.answers["2"] > 0)
        load.stop()
        assert not load.failures
        assert set(load.answers) == {"1", "2"}
        harness.gateway.store.registry.verify()
        await_true(lambda: harness.gateway.registry_sync.changes.connected)
        assert isinstance(harness.gateway.registry_sync.changes, Listener)
    finally:
        harness.stop()


def test_all_three_by_one_url(server, tmp_path):
    """With the server away nothing can be recorded, so nothing is answered."""
    places = ("sqlite:///registry.db", "answers.db", "subjects.db")
    harness = harness_on(server, tmp_path / "state", *places)
    try:
        ask = harness.inference().ModelInfer
        assert ask(question("digits", rows()), timeout=60).model_version == "1"
        names = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information|public)'"
        assert sorted(server.psql(names).split()) == ["answers", "registry", "subjects"]
        server.stop(signal.SIGQUIT)
        reason = refusal(ask, question("digits", rows()), timeout=60)
        assert reason in (Reason.REGISTRY_UNAVAILABLE, Reason.RECORD_FAILED)
        server.start()
        assert ask(question("digits", rows()), timeout=60).model_version == "1"
        recorded = server.psql("SELECT count(*) FROM answers.log_leaves")
        assert int(recorded) == harness.gateway.recorder.size
        models = harness.registry("auditor").ListModels(messages.ListModelsRequest()).models
        assert [model.name for model in models] == ["models/digits"]
    finally:
        harness.stop()


def test_roles_decide_about_every_method_here_too(server, tmp_path):
    """With both databases on the server, which also holds what is recorded of each refusal."""
    harness = new_harness_on(server, tmp_path / "state", "sqlite:///registry.db", "answers.db")
    wrong = {}
    try:
        for person, role in PEOPLE.items():
            channel = harness.channel(person)
            for path, method in METHODS:
                try:
                    invoke(channel, path, method)
                    reason = None
                except grpc.RpcError as error:
                    reason = reason_of(error)
                    assert reason is not None, path
                allowed = RULES[path] == ANYONE or role in RULES[path]
                if (reason is Reason.ROLE_TOO_LOW) is allowed:
                    wrong[person, path] = reason
    finally:
        harness.stop()
    assert not wrong
