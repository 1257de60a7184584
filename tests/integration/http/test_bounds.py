"""The HTTP gateway's limits on heads, bodies, connections and time."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from gateway.transport.http import connection
from gateway.transport.http.peer import Peer
from sealgate.reasons import Reason
from tests.support.fakes.blocking_worker import until
from tests.support.harness.clients.http_client import (
    HttpClient,
    client_of,
    harness_with_http,
    spoken,
    tensor,
)
from tests.support.harness.gateway import GatewayHarness, rows

INFER = "/v2/models/digits/infer"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
LARGEST = 4 * 1024 * 1024
SMALL = "\n[limits]\nconnections = 4\nthreads = 1\ndrain = 60.0\n"


@pytest.fixture(scope="module")
def small_harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    harness = harness_with_http(tmp_path_factory.mktemp("small") / "state", SMALL)
    harness.start()
    yield harness
    harness.stop()


def head(client: HttpClient, *lines: str) -> bytes:
    """The head of a request to infer."""
    credential = f"authorization: {client.headers['authorization']}"
    return "\r\n".join([f"POST {INFER} HTTP/1.1", "host: x", credential, *lines, "", ""]).encode()


def connected(harness: GatewayHarness) -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", harness.gateway.ports["http-insecure"]), timeout=60
    )


def until_closed(plain: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while piece := plain.recv(65536):
            found += piece
    return found


def handshake(harness: GatewayHarness, version: ssl.TLSVersion) -> str | None:
    context = ssl.create_default_context(cafile=str(harness.state / "tls" / "servers.pem"))
    # Old versions need the old ciphers to be offered at all.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    address = ("127.0.0.1", harness.gateway.ports["http"])
    with (
        socket.create_connection(address, timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return secure.version()


@pytest.mark.parametrize(
    "text",
    [
        b"x\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: x\r\nx y: z\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: x\r\nbad\r\n\r\n",
        b"GET /v2\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"POST /v2 HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: x\r\na: " + b"b" * 40_000,
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    ],
)
def test_what_is_not_http_is_answered_once(harness: GatewayHarness, text: bytes) -> None:
    found = spoken(harness, text)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert Reason.MESSAGE_MALFORMED.name.encode() in found
    assert found.count(b"HTTP/1.1") == 1


def test_a_length_beside_a_transfer_encoding(harness: GatewayHarness, client: HttpClient) -> None:
    text = head(client, "content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n"
    assert Reason.MESSAGE_MALFORMED.name.encode() in spoken(harness, text)


def test_requests_one_after_another_and_at_once(
    harness: GatewayHarness, client: HttpClient
) -> None:
    found = spoken(harness, LIVE * 3)
    assert found.count(b'{"live":true}') == 3
    connection = client.connection
    assert client.get("/v2").status == 200
    kept = connection.sock
    assert client.get("/v2").status == 200
    assert connection.sock is kept


def test_who_wants_the_connection_closed_is_heard(client: HttpClient) -> None:
    seen = client.ask("GET", "/v2", headers={"connection": "close"})
    assert seen.headers["connection"] == "close"


@pytest.mark.parametrize("large", [LARGEST + 1, 10**15])
def test_a_body_that_is_too_large_is_not_read(
    harness: GatewayHarness, client: HttpClient, large: int
) -> None:
    with connected(harness) as plain:
        plain.sendall(head(client, f"content-length: {large}"))
        found = until_closed(plain)
    assert Reason.MESSAGE_TOO_LARGE.name.encode() in found


def test_a_body_in_chunks(harness: GatewayHarness, client: HttpClient) -> None:
    opening = head(client, "transfer-encoding: chunked", "connection: close")
    found = spoken(harness, opening + b"1\r\n[\r\n1\r\n]\r\n0\r\n\r\n")
    assert Reason.MESSAGE_MALFORMED.name.encode() in found
    chunk = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    found = spoken(harness, opening + chunk * 5)
    assert Reason.MESSAGE_TOO_LARGE.name.encode() in found
    found = spoken(harness, opening + b"1\r\n \r\n" * 2000)
    assert Reason.MESSAGE_MALFORMED.name.encode() in found


def test_nothing_is_sent_before_it_is_asked_for(
    harness: GatewayHarness, client: HttpClient
) -> None:
    """As curl does it with a large body: its head first, the body once it may."""
    with connected(harness) as plain:
        plain.sendall(
            head(client, "content-length: 2", "expect: 100-continue", "connection: close")
        )
        assert plain.recv(1024).startswith(b"HTTP/1.1 100 ")
        plain.sendall(b"{}")
        assert Reason.MESSAGE_MALFORMED.name.encode() in until_closed(plain)
    with connected(harness) as plain:
        opening = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nexpect: 100-continue"
        plain.sendall(opening.encode() + b"\r\n\r\n")
        assert until_closed(plain).startswith(b"HTTP/1.1 401 ")


def test_a_body_that_does_not_come(
    harness: GatewayHarness, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = harness.gateway.http.gateway
    monkeypatch.setattr(http, "limits", replace(http.limits, deadline=0.2))
    with connected(harness) as plain:
        plain.sendall(head(client, "content-length: 9") + b"{")
        assert Reason.DEADLINE_TOO_SHORT.name.encode() in until_closed(plain)


def test_who_closes_their_half_has_gone(harness: GatewayHarness, client: HttpClient) -> None:
    """As one who has gone altogether, for whom nothing is run: the two look alike from here."""
    body = json.dumps({"inputs": [tensor(rows())]}).encode()
    text = head(client, f"content-length: {len(body)}", "connection: close") + body
    assert Reason.DEADLINE_TOO_SHORT.name.encode() in spoken(harness, text)
    with connected(harness) as plain:
        plain.sendall(text)
        assert until_closed(plain).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"GET /v2 HTTP/1.1\r\nhost: x\r\n"])
def test_who_says_nothing_is_not_waited_for(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    with connected(harness) as plain:
        plain.sendall(sent)
        assert until_closed(plain) == b""


def test_who_shakes_no_hands_is_not_waited_for(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.2)
    address = ("127.0.0.1", harness.gateway.ports["http"])
    with socket.create_connection(address, timeout=60) as plain:
        assert until_closed(plain) == b""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(harness: GatewayHarness, version: ssl.TLSVersion) -> None:
    assert handshake(harness, version) == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_are_not(harness: GatewayHarness) -> None:
    with pytest.raises(OSError, match=r"(?i)version|protocol|alert|reset"):
        handshake(harness, ssl.TLSVersion.TLSv1_1)


def test_plain_text_is_not_answered_by_tls(harness: GatewayHarness) -> None:
    address = ("127.0.0.1", harness.gateway.ports["http"])
    with socket.create_connection(address, timeout=60) as plain:
        plain.sendall(LIVE)
        assert b"HTTP/1.1" not in until_closed(plain)


def test_connections_of_known_callers_beyond_the_limit_are_closed(
    small_harness: GatewayHarness,
) -> None:
    asking = client_of(small_harness, insecure=True)
    credential = f"authorization: {asking.headers['authorization']}"
    metadata = f"GET /v2 HTTP/1.1\r\nhost: x\r\n{credential}\r\n\r\n".encode()
    server = small_harness.gateway.http.servers["http-insecure"]
    until(lambda: not server.open_connections)
    with ExitStack() as held:
        for _ in range(4):
            plain = held.enter_context(connected(small_harness))
            plain.sendall(metadata)
            assert plain.recv(1024).startswith(b"HTTP/1.1 200 ")
        # Of its address the newest, once it is known.
        another = held.enter_context(connected(small_harness))
        another.sendall(metadata)
        assert until_closed(another).startswith(b"HTTP/1.1 200 ")
    until(lambda: not server.open_connections)
    assert spoken(small_harness, LIVE)


def test_while_all_places_are_taken_inference_is_refused_at_once(
    small_harness: GatewayHarness,
) -> None:
    asking = client_of(small_harness, insecure=True)
    counted = small_harness.gateway.interceptor.counted_refusals
    before = counted["QUEUE_FULL"]
    with connected(small_harness) as plain:
        plain.sendall(head(asking, "content-length: 9", "expect: 100-continue"))
        assert plain.recv(1024).startswith(b"HTTP/1.1 100 ")
        seen = asking.infer({"inputs": [tensor(rows())]})
        assert (seen.status, seen.reason) == (429, Reason.QUEUE_FULL)
        assert seen.headers["retry-after"] == "1"
        # Before anyone looked at who asks; all else gets through.
        assert counted["QUEUE_FULL"] == before + 1
        assert asking.get("/v2").status == 200
    asking.close()


def test_a_gateway_that_stops_answers_what_is_asked_and_ends(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    harness = harness_with_http(tmp_path_factory.mktemp("stopping") / "state", SMALL)
    harness.start()
    asking = client_of(harness, insecure=True)
    gateway = harness.gateway
    with connected(harness) as idle, connected(harness) as busy:
        idle.sendall(LIVE)
        assert idle.recv(1024)
        busy.sendall(head(asking, "content-length: 2", "expect: 100-continue"))
        assert busy.recv(1024).startswith(b"HTTP/1.1 100 ")
        gateway.http.finish()
        assert until_closed(idle) == b""
        busy.sendall(b"{}")
        found = until_closed(busy)
    assert Reason.MESSAGE_MALFORMED.name.encode() in found
    assert b"connection: close" in found
    harness.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gateway.ports["http-insecure"]), timeout=60)


def test_a_caller_that_has_gone_is_known() -> None:
    one, other = socket.socketpair()
    peer = Peer(one, None)
    assert peer.is_there()
    other.close()
    until(lambda: not peer.is_there())
    one.close()
