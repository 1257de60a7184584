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
from tests.support.house import House, question, refusal, rows
from tests.support.postgres import PostgresServer
from tests.support.rollouts import await_true


@pytest.fixture
def server():
    server = PostgresServer()
    yield server
    server.close()


def new_house_on(server: PostgresServer, state, *files: str) -> House:
    """A house without models that keeps what is named in these files on the server instead."""
    house = House(state)
    configuration = state / "gateway.toml"
    text = configuration.read_text()
    for file in files:
        assert f'"{file}"' in text
        text = text.replace(f'"{file}"', f'"{server.url}"')
    configuration.write_text(text)
    house.start()
    return house


def house_on(server: PostgresServer, state, *files: str) -> House:
    """The same, with digits 1 in production and 2 registered."""
    house = new_house_on(server, state, *files)
    house.publish("digits-1", "digits")
    house.publish("digits-2", "digits")
    house.promote("digits", 1)
    return house


class Load:
    """Four callers who ask until they are told to stop."""

    def __init__(self, house: House) -> None:
        self.answers, self.failures = Counter(), Counter()
        self._stub = house.inference()
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
    house = house_on(server, tmp_path / "state", "sqlite:///registry.db")
    try:
        proposal = house.approved("digits", 2)
        load = Load(house)
        await_true(lambda: load.answers.total() > 0)
        server.stop(how)
        at_stop = load.answers.total()
        assert (
            refusal(house.governance("admin").promote, proposal, "test")
            is Reason.REGISTRY_UNAVAILABLE
        )
        await_true(lambda: load.answers.total() > at_stop)
        server.start()
        house.governance("admin").promote(proposal, "test")
        house.await_version("digits", 2)
        await_true(lambda: load.answers["2"] > 0)
        load.stop()
        assert not load.failures
        assert set(load.answers) == {"1", "2"}
        house.gateway.store.registry.verify()
        await_true(lambda: house.gateway.registry_sync.changes.connected)
        assert isinstance(house.gateway.registry_sync.changes, Listener)
    finally:
        house.stop()


def test_all_three_by_one_url(server, tmp_path):
    """With the server away nothing can be recorded, so nothing is answered."""
    places = ("sqlite:///registry.db", "answers.db", "subjects.db")
    house = house_on(server, tmp_path / "state", *places)
    try:
        ask = house.inference().ModelInfer
        assert ask(question("digits", rows()), timeout=60).model_version == "1"
        names = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information|public)'"
        assert sorted(server.psql(names).split()) == ["answers", "registry", "subjects"]
        server.stop(signal.SIGQUIT)
        reason = refusal(ask, question("digits", rows()), timeout=60)
        assert reason in (Reason.REGISTRY_UNAVAILABLE, Reason.RECORD_FAILED)
        server.start()
        assert ask(question("digits", rows()), timeout=60).model_version == "1"
        recorded = server.psql("SELECT count(*) FROM answers.log_leaves")
        assert int(recorded) == house.gateway.recorder.size
        models = house.registry("auditor").ListModels(messages.ListModelsRequest()).models
        assert [model.name for model in models] == ["models/digits"]
    finally:
        house.stop()


def test_roles_decide_about_every_method_here_too(server, tmp_path):
    """With both databases on the server, which also holds what is recorded of each refusal."""
    house = new_house_on(server, tmp_path / "state", "sqlite:///registry.db", "answers.db")
    wrong = {}
    try:
        for person, role in PEOPLE.items():
            channel = house.channel(person)
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
        house.stop()
    assert not wrong
