"""Counts that gateways share, in a real Redis and a real PostgreSQL."""

import contextlib
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from gateway.admission.quotas import QuotaLimiter, open_store
from gateway.config.optional_sections import Quota, QuotaStore
from sealgate.oip.grpc_service_pb2 import ServerMetadataRequest
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused
from tests.support.harness.gateway import GatewayHarness, refusal
from tests.support.harness.servers.postgres import PostgresServer
from tests.support.harness.servers.redis_server import RedisServer

CLIENT = SimpleNamespace(name="client", roles=("client",))
SERVERS = {"redis": RedisServer, "postgresql": PostgresServer}


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    server = SERVERS[request.param]()
    yield server
    server.close()


@pytest.fixture
def url(server):
    """The URL of a store that holds nothing."""
    open_store(server.url).reset()
    return server.url


def gateways(url, *quotas, count=2):
    """The quotas of several gateways."""
    return [QuotaLimiter.of(quotas, QuotaStore(url)) for _ in range(count)]


def spend(counts, most=200):
    """How many calls are let through before the first that is not."""
    for number in range(most):
        try:
            counts.enter(CLIENT)()
        except SealgateError:
            return number
    return most


def first_refusal(counts):
    while True:
        try:
            counts.enter(CLIENT)()
        except SealgateError as refusal:
            return refusal


def test_gateways_count_together(url):
    one, two = gateways(url, Quota(role="client", rate="5/hour", daily=100))
    for counts in (one, two, one, two, one):
        counts.enter(CLIENT)()
    for counts in (one, two):
        with pytest.raises(SealgateError) as caught:
            counts.enter(CLIENT)
        assert caught.value.reason is Reason.RATE_EXCEEDED
        assert 3500 < caught.value.retry <= 3600.5
    other = SimpleNamespace(name="other", roles=("client",))
    one.enter(other)()


def test_no_call_is_lost_among_threads(url):
    both = gateways(url, Quota(role="client", daily=40))
    passed = []
    threads = [
        threading.Thread(target=lambda counts=counts: passed.append(spend(counts)))
        for counts in both * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 40


def test_a_window_ends(url):
    one, two = gateways(url, Quota(role="client", rate="2/second"))
    began = time.monotonic()
    one.enter(CLIENT)()
    spent = spend(two)
    # Two more for each window that may have ended meanwhile.
    assert spent < 3 + 2 * int(time.monotonic() - began)
    ended = first_refusal(one)
    assert ended.reason is Reason.RATE_EXCEEDED
    assert 0 <= ended.retry <= 1.1
    assert _recovers(two)


def test_counts_outlive_a_gateway(url):
    quota = Quota(principal="client", daily=1)
    gateways(url, quota)[0].enter(CLIENT)()
    with refused(Reason.QUOTA_SPENT):
        gateways(url, quota)[0].enter(CLIENT)


def test_a_server_that_went_away_and_came_back(server, url):
    (counts,) = gateways(url, Quota(role="client", rate="100000/hour"), count=1)
    counts.enter(CLIENT)()
    server.stop()
    try:
        began = time.monotonic()
        for _ in range(50):
            with pytest.raises(SealgateError) as caught:
                counts.enter(CLIENT)
            assert caught.value.reason is Reason.QUOTA_UNKNOWN
            assert 0 <= caught.value.retry <= 1
        assert time.monotonic() - began < 40
    finally:
        server.start()
    assert _recovers(counts)
    server.stop()
    server.start()
    assert _recovers(counts)


def _recovers(counts):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            counts.enter(CLIENT)()
            return True
        except SealgateError:
            time.sleep(0.05)
    return False


def test_gateways_that_begin_before_their_server(server, url):
    server.stop()
    try:
        (counts,) = gateways(url, Quota(role="client", daily=5), count=1)
        with refused(Reason.QUOTA_UNKNOWN):
            counts.enter(CLIENT)
    finally:
        server.start()
    assert _recovers(counts)


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_server_that_says_nothing_is_not_waited_for(scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"{scheme}://user@{host}/0" if scheme == "postgresql" else f"{scheme}://{host}/0"
        (counts,) = gateways(url, Quota(role="client", daily=5), count=1)
        began = time.monotonic()
        for _ in range(20):
            with refused(Reason.QUOTA_UNKNOWN):
                counts.enter(CLIENT)
        assert time.monotonic() - began < 40


def test_a_server_that_hangs_is_given_up(server, url):
    """Not even `statement_timeout` ends a statement of a server that does not run."""
    (counts,) = gateways(url, Quota(role="client", daily=500), count=1)
    counts.enter(CLIENT)()
    server.pause()
    try:
        began = time.monotonic()
        for _ in range(50):
            with refused(Reason.QUOTA_UNKNOWN):
                counts.enter(CLIENT)
        assert time.monotonic() - began < 60
    finally:
        server.resume()
    assert _recovers(counts)


def test_a_server_that_lost_everything_counts_anew(server, url):
    """As one does that takes over and never had the counts."""
    (counts,) = gateways(url, Quota(role="client", daily=2, tokens="100/hour"), count=1)
    settle = counts.reserve(CLIENT, 60)
    counts.enter(CLIENT)()
    if isinstance(server, PostgresServer):
        server.psql("DROP SCHEMA quotas CASCADE")
    else:
        server.stop()
        server.start()
    counts.enter(CLIENT)()
    # Tokens reserved before the restart are not returned to the new count.
    counts.reserve(CLIENT, 60)(50)
    settle(0)
    counts.reserve(CLIENT, 50)
    with refused(Reason.TOKENS_SPENT):
        counts.reserve(CLIENT, 1)


def test_an_answer_that_used_all_its_tokens_is_no_error(url, caplog):
    (counts,) = gateways(url, Quota(role="client", tokens="100/hour"), count=1)
    counts.reserve(CLIENT, 100)(100)
    assert not caplog.records
    with refused(Reason.TOKENS_SPENT):
        counts.reserve(CLIENT, 1)


def test_an_error_of_the_server_shows_no_statement(url, server, caplog):
    (counts,) = gateways(url, Quota(role="client", daily=5), count=1)
    server.stop()
    try:
        with refused(Reason.QUOTA_UNKNOWN) as caught:
            counts.enter(CLIENT)
    finally:
        server.start()
    assert _recovers(counts)
    for text in (caught.value.detail, *caplog.messages):
        assert "\n" not in text
        assert "INSERT" not in text


def test_tokens_are_set_aside_together_and_given_back(url):
    one, two = gateways(url, Quota(role="client", tokens="100/hour"))
    settle = one.reserve(CLIENT, 60)
    for tokens in (41, 1000):
        with pytest.raises(SealgateError) as caught:
            two.reserve(CLIENT, tokens)
        assert caught.value.reason is Reason.TOKENS_SPENT
        # More than there ever are is not there later either.
        assert (caught.value.retry is None) == (tokens > 100)
        assert caught.value.retry is None or 3590 < caught.value.retry <= 3600.5
    two.spend(CLIENT, 40)
    settle(10)
    two.reserve(CLIENT, 50)(50)
    with refused(Reason.TOKENS_SPENT):
        one.spend(CLIENT, 1)
    with refused(Reason.TOKENS_SPENT):
        two.reserve(CLIENT, 1)


def test_no_token_is_lost_or_gained_among_threads(url):
    """Answers of 25 tokens that get 10, while others ask for more than there are."""
    both = gateways(url, Quota(role="client", tokens="500/hour"))
    answered = []

    def ask(counts):
        for _ in range(200):
            with contextlib.suppress(SealgateError):
                counts.reserve(CLIENT, 501)
            try:
                settle = counts.reserve(CLIENT, 25)
            except SealgateError:
                # Others may give back what they have.
                time.sleep(0.001)
                continue
            settle(10)
            answered.append(10)

    threads = [threading.Thread(target=ask, args=(counts,)) for counts in both * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The last caller finds fewer than 25 of 500 tokens left.
    assert len(answered) == 48
    both[0].reserve(CLIENT, 20)
    with refused(Reason.TOKENS_SPENT):
        both[1].reserve(CLIENT, 1)


def test_two_gateways_over_the_wire(url, tmp_path):
    harnesses = [GatewayHarness(tmp_path / str(number)) for number in range(2)]
    try:
        for harness in harnesses:
            with (harness.state / "gateway.toml").open("a") as settings:
                settings.write('[[quotas]]\nprincipal = "client"\ndaily = 3\n')
                settings.write(f'[quota_store]\nurl = "{url}"\n')
            harness.start()
        ask = [harness.inference().ServerMetadata for harness in harnesses]
        for call in (ask[0], ask[1], ask[0]):
            call(ServerMetadataRequest(), timeout=60)
        for call in ask:
            assert refusal(call, ServerMetadataRequest(), timeout=60) is Reason.QUOTA_SPENT
    finally:
        for harness in harnesses:
            harness.stop()
