"""The events process beside a real gateway: changes become webhooks, also across kills."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading

import pytest
from standardwebhooks import Webhook as StandardWebhook

from sealgate.events.config import EventsConfig
from sealgate.events.process import EventsProcess
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.deployment import until
from tests.support.harness.gateway import running


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("events") / "state", "digits-1", "digits-2") as harness:
        yield harness


@pytest.fixture
def config(harness, receiver, secret, tmp_path):
    """The file, for one destination."""
    path = tmp_path / "events.toml"
    profile = harness.state / "people" / "auditor" / "profile.toml"
    path.write_text(f"""
[gateway]
profile = "{profile}"
[state]
database = "events.sqlite"
[network]
hosts = ["127.0.0.1"]
[delivery]
first_pause = 0.05
[[destinations]]
name = "hook"
url = "{receiver.url}"
secrets = ["hook.key"]
loopback = true
""")
    return path


def size(harness):
    return harness.gateway.store.registry.log.size()


def create(harness, name):
    harness.registry("publisher").CreateModel(messages.CreateModelRequest(model=name), timeout=60)


def told(receiver):
    """The events by kind."""
    events = [json.loads(each.body) for each in receiver.received]
    return {event["type"].removeprefix("sealgate."): event for event in events}


def test_each_change_of_a_models_life_is_told(harness, receiver, config, secret):
    process = EventsProcess(EventsConfig.read(config))
    process.start()
    until(lambda: process.registry.failing == "")
    try:
        proposals = [harness.propose("digits", version) for version in (1, 2, 1, 1)]
        first, second, rejected, withdrawn = (each.digest for each in proposals)
        for digest in (first, second):
            for approver in ("approver-1", "approver-2"):
                harness.governance(approver).approve(digest, "reviewed")
        harness.governance("approver-1").reject(rejected, "not like this")
        harness.governance("publisher").withdraw(withdrawn, "a mistake")
        harness.governance("publisher").comment(second, "see the report")
        admin = harness.governance("admin")
        admin.promote(first, "first")
        second = harness.approved("digits", 2)
        admin.promote(second, "second")
        admin.rollback("digits", "production", 1, "slow")
        admin.revoke("digits", 2, "broken")
        until(lambda: "version.revoked" in told(receiver))
    finally:
        process.stop()
    events = told(receiver)
    assert set(events) == {
        *("proposal.opened", "proposal.approved", "proposal.rejected", "proposal.withdrawn"),
        *("proposal.commented", "alias.promoted", "alias.rolled-back", "version.revoked"),
    }
    data = events["proposal.rejected"]["data"]
    assert (data["approver"], data["reason"], data["version"]) == ("approver-1", "not like this", 1)
    assert events["proposal.withdrawn"]["data"]["reason"] == "a mistake"
    assert events["proposal.commented"]["data"]["reason"] == "see the report"
    assert events["alias.rolled-back"]["data"] | {"digest": "", "index": 0} == {
        "log": "house.localhost/registry",
        "index": 0,
        "principal": "admin",
        "model": "digits",
        "alias": "production",
        "version": 1,
        "digest": "",
        "sequence": 3,
        "admin": "admin",
        "reason": "slow",
    }
    assert events["version.revoked"]["subject"] == "models/digits/versions/2"
    for each in receiver.received:
        StandardWebhook(secret).verify(each.body, each.headers)
    indexes = [json.loads(each.body)["data"]["index"] for each in receiver.received]
    assert indexes == sorted(set(indexes))


def test_what_happens_while_it_is_stopped_is_told_when_it_starts(harness, receiver, config):
    process = EventsProcess(EventsConfig.read(config))
    process.start()
    until(lambda: process.registry.failing == "")
    process.stop()
    create(harness, "while-stopped")
    process = EventsProcess(EventsConfig.read(config))
    process.start()
    receiver.wait(1)
    process.stop()
    assert [event["subject"] for event in told(receiver).values()] == ["models/while-stopped"]


class _Program:
    """`sealgate serve events` as a process of its own."""

    def __init__(self, config):
        command = [sys.executable, "-m", "sealgate.cli.main", "events", "serve"]
        self._process = subprocess.Popen([*command, "--config", str(config)])

    def kill(self):
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self):
        self._process.terminate()
        assert self._process.wait(60) == 0


def test_killed_in_the_midst_of_a_delivery_it_loses_nothing(harness, receiver, config):
    text = config.read_text()
    config.write_text(text.replace("[state]", "from_beginning = true\n[state]"))
    names = [f"killed-{number}" for number in range(6)]
    for name in names:
        create(harness, name)
    started, killed = queue.Queue(), threading.Lock()

    def answer(came):
        # The receiver has taken it, and its answer comes too late.
        if killed.acquire(blocking=False):
            started.get().kill()
        return 204

    receiver.answer = answer
    started.put(_Program(config))
    until(killed.locked)
    until(started.empty)
    program = _Program(config)
    subjects = {f"models/{name}" for name in names}
    until(lambda: subjects <= {json.loads(each.body)["subject"] for each in receiver.received})
    program.stop()
    # Only what was under way came twice, with the same id: of each of four workers.
    ids = receiver.ids()
    assert 1 <= len(ids) - len(set(ids)) <= 4
    assert max(map(ids.count, ids)) == 2
