"""The stream of the registry's changes, on either database: at once, whole, once, and resumable."""

import itertools
import secrets
import threading
import time

import grpc
import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.remote import access_of, reason_of
from sealgate.remote.calls import follow
from sealgate.remote.connection import CHANNEL_OPTIONS
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.harness.gateway import GatewayHarness, refusal
from tests.support.harness.network.relay import relay_to
from tests.support.harness.servers.postgres import other_schema

_names = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def harness(request, tmp_path_factory):
    harness = GatewayHarness(tmp_path_factory.mktemp("watch") / "state")
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        url = other_schema(server.url, f"watch_{secrets.token_hex(6)}")
        configuration = harness.state / "gateway.toml"
        text = configuration.read_text()
        assert '"sqlite:///registry.db"' in text
        configuration.write_text(text.replace("sqlite:///registry.db", url))
    with (harness.state / "gateway.toml").open("a") as file:
        file.write("\n[limits]\nheartbeat = 0.2\n")
    harness.start()
    harness.publish("digits-standard", "digits")
    yield harness
    harness.stop()


def create(harness):
    name = f"model-{next(_names)}"
    harness.registry("publisher").CreateModel(messages.CreateModelRequest(model=name), timeout=60)
    return f"models/{name}"


def watch(harness, person="auditor", timeout=60, **request):
    return harness.registry(person).WatchChanges(
        messages.WatchChangesRequest(**request), timeout=timeout
    )


def changes(stream):
    return (message.change for message in stream if message.HasField("change"))


def from_now(harness, **request):
    """A stream that has begun."""
    stream = watch(harness, **request)
    assert not next(stream).HasField("change")
    return stream


def size(harness):
    return harness.gateway.store.registry.log.size()


def test_a_move_arrives_at_once_with_its_pointer(harness):
    # One of three: on a loaded machine, this process may itself come late.
    assert min(seconds_until_a_move_arrives(harness) for _ in range(3)) < 2


def seconds_until_a_move_arrives(harness):
    proposal = harness.approved("digits", 1)
    stream = from_now(harness, kinds=[messages.CHANGE_KIND_POINTER_MOVED])
    heard = []
    thread = threading.Thread(
        target=lambda: heard.append((next(changes(stream)), time.monotonic())), daemon=True
    )
    thread.start()
    moved = harness.governance("admin").promote(proposal, "first")
    answered = time.monotonic()
    thread.join(60)
    change, arrived = heard[0]
    assert change.pointer == moved
    assert (change.subject, change.principal) == (moved.name, "admin")
    stream.cancel()
    return arrived - answered


def test_from_the_beginning_each_entry_is_told_once_and_in_order(harness):
    wanted = {create(harness) for _ in range(40)}
    stream = watch(harness, start=0)
    told = []
    for change in changes(stream):
        told.append(change)
        wanted.discard(change.subject)
        if not wanted:
            break
    stream.cancel()
    indexes = [change.index for change in told]
    assert indexes == sorted(set(indexes))
    assert told[0].kind == messages.CHANGE_KIND_POLICY_ACCEPTED
    assert told[0].policy
    versions = [c for c in told if c.kind == messages.CHANGE_KIND_VERSION_REGISTERED]
    assert versions[0].version.name == "models/digits/versions/1"


def test_a_filter_leaves_out_the_rest_and_the_token_moves_on(harness):
    stream = from_now(harness, model="digits")
    before = size(harness)
    create(harness)
    message = next(message for message in stream if message.next > before)
    assert not message.HasField("change")
    stream.cancel()


def test_heartbeats_come_while_nothing_happens(harness):
    stream = from_now(harness)
    beats = list(itertools.islice(stream, 3))
    assert not any(beat.HasField("change") for beat in beats)
    stream.cancel()


@pytest.mark.parametrize("start", [-1, 1_000_000])
def test_a_start_that_the_log_has_not_reached_is_refused(harness, start):
    assert refusal(next, watch(harness, start=start)) is Reason.ENTRY_UNKNOWN


def test_a_model_that_is_no_name_is_refused(harness):
    assert refusal(next, watch(harness, model="../x")) is Reason.NAME_MALFORMED


class Follower:
    """Follows changes through a channel of its own, as long as the gateway stands."""

    def __init__(self, harness, endpoint, start):
        access = access_of(harness.profile("auditor"))
        options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", "localhost")]
        self._channel = grpc.secure_channel(endpoint, access.credentials(), options)
        self._stub = RegistryServiceStub(self._channel)
        self.subjects = []
        self.streams = 0
        self._start = start
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _open(self, at, seconds):
        self.streams += 1
        request = messages.WatchChangesRequest(start=at, kinds=[messages.CHANGE_KIND_MODEL_CREATED])
        return self._stub.WatchChanges(request, timeout=seconds)

    def _run(self):
        messages_ = follow(self._open, lambda message: message.next, self._start)
        try:
            for message in messages_:
                if message.HasField("change"):
                    self.subjects.append(message.change.subject)
        except (grpc.RpcError, SealgateError, ValueError):
            # The channel was closed.
            return

    def until(self, subject):
        deadline = time.monotonic() + 60
        while subject not in self.subjects:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self):
        self._channel.close()
        self._thread.join(60)


def test_nothing_is_lost_or_told_twice_across_cut_connections(harness):
    with relay_to(harness.profile("auditor").endpoint) as relay:
        follower = Follower(harness, f"localhost:{relay.port}", size(harness))
        made = []
        for _ in range(5):
            for _ in range(8):
                made.append(create(harness))
            relay.cut()
            for _ in range(4):
                made.append(create(harness))
            follower.until(made[-1])
        follower.close()
    assert follower.subjects == made
    assert follower.streams >= 5


def test_nothing_is_lost_or_told_twice_when_the_gateway_restarts(harness):
    follower = Follower(harness, harness.profile("auditor").endpoint, size(harness))
    made = []
    for _ in range(2):
        made += [create(harness) for _ in range(5)]
        harness.stop()
        harness.start()
        made += [create(harness) for _ in range(5)]
    follower.until(made[-1])
    follower.close()
    assert follower.subjects == made


def test_a_stopping_gateway_ends_the_streams_with_the_reason(harness):
    stream = from_now(harness)
    gateway, harness.gateway = harness.gateway, None
    gateway.stop()
    try:
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert reason_of(caught.value) is Reason.DRAINING
    finally:
        harness.stop()
        harness.start()
