"""Keys fetched from a real server: https only, bounded, kept, rotated, and used while stale."""

import threading
import time
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.auth.remote_keys import Fetcher, RemoteKeys, Schedule, by_discovery, from_url
from gateway.auth.tokens import Issuer, TokenVerifier
from gateway.config.sections import check_address
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused
from tests.support.fakes.clock import Clock
from tests.support.harness.servers.issuer import (
    AUDIENCE,
    ED25519,
    ISSUER,
    P256,
    jwk,
    jwks,
    serving,
    token,
)

NEWER = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as server:
        server.documents["/keys"] = jwks(jwk(P256, "p"))
        yield server


@pytest.fixture
def fetcher(server):
    return Fetcher(server.authority, seconds=60.0)


@contextmanager
def keys_of(server, schedule=None, clock=time.monotonic):
    fetch = from_url(Fetcher(server.authority, seconds=60.0), f"{server.url}/keys")
    keys = RemoteKeys(server.url, fetch, schedule or Schedule(), clock)
    try:
        yield keys
    finally:
        keys.close()


def test_keys_by_address(server, fetcher):
    assert set(from_url(fetcher, f"{server.url}/keys")().keys) == {"p"}


def test_keys_by_discovery(server, fetcher):
    server.discoverable()
    assert set(by_discovery(fetcher, server.url)().keys) == {"p"}


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"},
        {"issuer": ""},
        {"jwks_uri": "http://127.0.0.1/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": ""},
    ],
)
def test_a_configuration_that_is_refused(server, fetcher, changes):
    server.discoverable(**changes)
    with refused(Reason.KEY_SET_REFUSED):
        by_discovery(fetcher, server.url)()


@pytest.mark.parametrize("document", [b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_what_is_no_configuration(server, fetcher, document):
    server.documents["/.well-known/openid-configuration"] = document
    with refused(Reason.KEY_SET_REFUSED):
        by_discovery(fetcher, server.url)()


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/keys",
        "http://127.0.0.1/keys",
        "file:///etc/passwd",
        "ftp://issuer.example/keys",
        "https:///keys",
        "https://user:word@issuer.example/keys",
        "https://issuer.example/keys#one",
        "https://issuer.example:port/keys",
        "https://issuer.example/a b",
        "https://issuer.example/\r\nhost: other",
        "",
    ],
)
def test_addresses_that_are_refused(url):
    with refused(Reason.KEY_SET_REFUSED):
        check_address(url)


def test_http_only_to_this_machine_and_only_when_asked(tmp_path):
    with serving(tmp_path, tls=False) as server:
        server.documents["/keys"] = jwks(jwk(P256, "p"))
        assert Fetcher(insecure_loopback=True).get(f"{server.url}/keys")
        with refused(Reason.KEY_SET_REFUSED):
            Fetcher().get(f"{server.url}/keys")
        with refused(Reason.KEY_SET_REFUSED):
            check_address("http://localhost/keys", insecure_loopback=True)
        with refused(Reason.KEY_SET_REFUSED):
            check_address("http://10.0.0.1/keys", insecure_loopback=True)


def test_a_server_of_another_authority(server):
    with refused(Reason.KEY_SET_UNREACHABLE):
        Fetcher().get(f"{server.url}/keys")


def test_redirects_are_not_followed(server, fetcher):
    server.statuses["/keys"] = 302
    server.headers["location"] = f"{server.url}/elsewhere"
    server.documents["/elsewhere"] = jwks(jwk(P256, "p"))
    with refused(Reason.KEY_SET_UNREACHABLE):
        fetcher.get(f"{server.url}/keys")
    assert not server.asked["/elsewhere"]


def test_a_huge_document(server, fetcher):
    server.documents["/keys"] = b" " * (256 * 1024 + 1)
    with refused(Reason.KEY_SET_REFUSED):
        fetcher.get(f"{server.url}/keys")


def test_a_document_that_never_ends(server):
    """Each byte comes in time; all together do not."""
    server.drip = 0.05
    server.documents["/keys"] = b" " * 10_000
    began = time.monotonic()
    with refused(Reason.KEY_SET_UNREACHABLE):
        Fetcher(server.authority, seconds=0.3).get(f"{server.url}/keys")
    assert time.monotonic() - began < 50


def test_a_server_that_is_down(tmp_path):
    with serving(tmp_path) as server:
        pass
    with refused(Reason.KEY_SET_UNREACHABLE):
        Fetcher(server.authority).get(f"{server.url}/keys")


def test_before_the_first_fetch_nobody_is_believed(server):
    server.statuses["/keys"] = 503
    with keys_of(server) as keys:
        with refused(Reason.KEY_SET_UNREACHABLE):
            keys.current()
        keys.refresh()
        with refused(Reason.KEY_SET_UNREACHABLE):
            keys.current()


@pytest.mark.parametrize(
    ("document", "reason"),
    [(jwks(), Reason.KEY_SET_REFUSED), (b" " * (1 << 19), Reason.KEY_SET_REFUSED)],
    ids=["empty", "huge"],
)
def test_a_set_that_is_refused_replaces_nothing(server, document, reason):
    clock = Clock()
    with keys_of(server, Schedule(stale=100), clock) as keys:
        keys.refresh()
        before = keys.current()
        server.documents["/keys"] = document
        clock.now += 99
        keys.refresh()
        assert keys.current() is before
        clock.now += 2
        with refused(reason):
            keys.current()


def test_the_last_set_is_used_for_a_stated_time_while_the_server_is_down(server):
    clock = Clock()
    with keys_of(server, Schedule(stale=100), clock) as keys:
        keys.refresh()
        before = keys.current()
        server.statuses["/keys"] = 500
        clock.now += 100
        keys.refresh()
        assert keys.current() is before
        clock.now += 1
        with refused(Reason.KEY_SET_UNREACHABLE):
            keys.current()
        server.statuses.clear()
        keys.refresh()
        assert keys.current() is before


def test_a_key_rotated_in_the_middle(server):
    """The new key is fetched when a token names it; what the old one signed falls with it."""
    with keys_of(server, Schedule(interval=0)) as keys:
        keys.start()
        verifier = TokenVerifier([Issuer(ISSUER, AUDIENCE, keys)])
        old = token()
        assert verifier.identity(old)
        server.documents["/keys"] = jwks(jwk(P256, "p"), jwk(NEWER, "n"))
        assert verifier.identity(token(NEWER, "n"))
        assert verifier.identity(old)
        server.documents["/keys"] = jwks(jwk(NEWER, "n"))
        keys.refresh()
        with refused(Reason.TOKEN_SIGNATURE):
            verifier.identity(old)
        assert verifier.identity(token(NEWER, "n"))


def test_only_a_token_that_could_be_valid_waits_for_a_key(server):
    with keys_of(server) as keys:
        verifier = TokenVerifier([Issuer(ISSUER, AUDIENCE, keys)])
        assert verifier.may_wait(token())
        keys.refresh()
        assert not verifier.may_wait(token())
        assert verifier.may_wait(token(NEWER, "n"))
        for text in (
            token(kid="n", exp=1),
            token(kid="n", aud="other"),
            token(kid="n", iss="x"),
            "a",
        ):
            assert not verifier.may_wait(text)
        known = token()
        verifier.identity(known)
        server.documents["/keys"] = jwks(jwk(NEWER, "n"))
        keys.refresh()
        assert verifier.may_wait(known)


def test_a_key_replaced_under_its_own_kid(server):
    with keys_of(server) as keys:
        keys.refresh()
        verifier = TokenVerifier([Issuer(ISSUER, AUDIENCE, keys)])
        old = token()
        verifier.identity(old)
        server.documents["/keys"] = jwks(jwk(NEWER, "p"))
        keys.refresh()
        with refused(Reason.TOKEN_SIGNATURE):
            verifier.identity(old)


def test_unknown_keys_cause_one_fetch_an_interval(server):
    with keys_of(server, Schedule(interval=60)) as keys:
        keys.start()
        keys.find("p")
        began = time.monotonic()
        for number in range(50):
            assert keys.find(f"unknown-{number}") is None
        assert time.monotonic() - began < 20
    assert server.asked["/keys"] == 1


def test_few_calls_wait_for_a_fetch_and_not_for_long(server):
    server.delay = 12.0
    schedule = Schedule(interval=60, wait=5.0, waiters=2)
    times = []

    def call(keys):
        began = time.monotonic()
        with refused(Reason.KEY_SET_UNREACHABLE):
            keys.find("p")
        times.append(time.monotonic() - began)

    with keys_of(server, schedule) as keys:
        keys.start()
        threads = [threading.Thread(target=call, args=(keys,)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len([seconds for seconds in times if seconds > 4.5]) == 2
    assert max(times) < 11


def test_a_server_that_hangs_delays_no_token_whose_key_is_known(server):
    with keys_of(server, Schedule(refresh=0.05)) as keys:
        keys.start()
        keys.find("p")
        server.delay = 15.0
        time.sleep(0.2)
        began = time.monotonic()
        assert keys.find("p") is not None
        assert time.monotonic() - began < 12


def test_keys_are_renewed_without_being_asked_for(server):
    with keys_of(server, Schedule(refresh=0.02)) as keys:
        keys.start()
        keys.find("p")
        server.documents["/keys"] = jwks(jwk(ED25519, "e"))
        deadline = time.monotonic() + 60
        while "e" not in keys.current().keys and time.monotonic() < deadline:
            time.sleep(0.01)
        assert set(keys.current().keys) == {"e"}


def test_the_thread_survives_what_nobody_expected(server):
    answers = iter([RuntimeError("surprise"), SealgateError(Reason.KEY_SET_UNREACHABLE)])

    def fetch():
        raise next(answers)

    keys = RemoteKeys("x", fetch, Schedule())
    keys.refresh()
    with refused(Reason.KEY_SET_REFUSED):
        keys.current()
    keys.refresh()
    with refused(Reason.KEY_SET_UNREACHABLE):
        keys.current()
