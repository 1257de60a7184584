"""The events process beside a real gateway: changes become webhooks, also across kills."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest
from standardwebhooks import Webhook as StandardWebhook

from gateway.auth.method_rules import RULES
from sealgate.events.config import EventsConfig
from sealgate.events.process import EventsProcess
from sealgate.settings import ConfigError
from sealgate.trust.transparency.merkle import leaf_hash
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.deployment import until
from tests.support.harness.gateway import running


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(
        tmp_path_factory.mktemp("events") / "state", "digits-standard", "digits-hardened"
    ) as harness:
        yield harness


@pytest.fixture
def config(harness, receiver, secret, tmp_path):
    """The file, for one destination."""
    path = tmp_path / "events.toml"
    profile = harness.state / "people" / "events" / "profile.toml"
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
    assert events["alias.rolled-back"]["data"] | {"digest": "", "index": 0, "leaf_hash": ""} == {
        "log": "house.localhost/registry",
        "index": 0,
        "leaf_hash": "",
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


def test_it_goes_on_where_it_was_after_the_gateway_was_away(harness, receiver, config):
    process = EventsProcess(EventsConfig.read(config))
    process.start()
    until(lambda: process.registry.failing == "")
    create(harness, "before-it-went")
    receiver.wait(1)
    harness.stop()
    harness.start()
    create(harness, "after-it-came")
    receiver.wait(2)
    process.stop()
    subjects = [json.loads(each.body)["subject"] for each in receiver.received]
    assert subjects == ["models/before-it-went", "models/after-it-came"]


def test_a_second_process_is_refused(config):
    first = EventsProcess(EventsConfig.read(config))
    first.start()
    with pytest.raises(ConfigError, match="in use already"):
        EventsProcess(EventsConfig.read(config))
    first.stop()
    second = EventsProcess(EventsConfig.read(config))
    second.start()
    second.stop()


def test_it_can_be_told_to_begin_elsewhere(harness, receiver, config):
    create(harness, "first")
    process = EventsProcess(EventsConfig.read(config), size(harness) - 1)
    process.start()
    receiver.wait(1)
    process.stop()
    (event,) = told(receiver).values()
    log = harness.gateway.store.registry.log
    assert event["subject"] == "models/first"
    assert event["data"]["leaf_hash"] == leaf_hash(log.entry(event["data"]["index"])).hex()


def test_a_place_that_the_log_has_not_reached_is_told(harness, receiver, config):
    process = EventsProcess(EventsConfig.read(config), size(harness) + 1000)
    process.start()
    until(lambda: "ENTRY_UNKNOWN" in process.registry.failing)
    process.stop()


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


def test_one_may_only_follow_and_look_with_the_role_of_events(harness):
    """It is on the way to strangers, so it must not be able to read inputs, entries or files."""
    roles = {path.rpartition("/")[2] for path, roles in RULES.items() if "events" in roles}
    assert roles == {
        *("GetPolicy", "WatchChanges", "ListLogs", "GetCheckpoint", "GetConsistencyProof"),
        "ListFlaggedSessions",
    }


def test_its_metrics_say_what_waits_and_what_fails(harness, receiver, config):
    with config.open("a") as file:
        file.write('[metrics]\nlisten = "127.0.0.1:0"\n')
    receiver.answer = lambda _: 410
    process = EventsProcess(EventsConfig.read(config))
    process.start()
    try:
        until(lambda: process.registry.failing == "")
        create(harness, "measured")
        until(lambda: len(process.store.dead_letters()) == 1)
        text = fetched(process.metrics.port, "/metrics")
        assert 'sealgate_events_deliveries{destination="hook",state="dead"} 1\n' in text
        assert 'sealgate_events_attempts_total{destination="hook",result="dead"} 1\n' in text
        assert text.endswith("sealgate_events_failing 0\n")
        assert fetched(process.metrics.port, "/readyz") == "ready\n"
    finally:
        process.stop()


def fetched(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read().decode()


def test_dead_letters_are_listed_retried_and_dropped_at_the_command_line(
    harness, receiver, config, store, event
):
    receiver.answer = lambda _: 410
    store.add([(event(number), ["hook"]) for number in range(2)])
    for letter in (store.first("hook", "digits") for _ in range(2)):
        store.failed(letter, "HTTP 410", dead=True)
    words = ("--config", str(config))
    listed = json.loads(harness.command("events", "dead", "--json", *words).output)
    assert [(each["id"], each["error"]) for each in listed] == [
        ("0-digits", "HTTP 410"),
        ("1-digits", "HTTP 410"),
    ]
    assert "name letters, or give --all" in harness.command("events", "retry", *words).output
    unknown = harness.command("events", "retry", "99", *words)
    assert "there is no dead letter 99" in unknown.output
    first, second = (str(each["letter"]) for each in listed)
    assert "1 to be delivered again" in harness.command("events", "retry", first, *words).output
    assert store.first("hook", "digits").id == "0-digits"
    assert "1 deleted" in harness.command("events", "drop", second, *words).output
    assert store.dead_letters() == []


def test_a_secret_is_made_for_its_owner_alone_and_never_overwritten(harness, tmp_path):
    place = tmp_path / "new.key"
    assert harness.command("events", "secret", str(place)).exit_code == 0
    assert place.stat().st_mode & 0o777 == 0o600
    StandardWebhook(place.read_text().strip())
    assert "KEY_FILE_EXISTS" in harness.command("events", "secret", str(place)).output
