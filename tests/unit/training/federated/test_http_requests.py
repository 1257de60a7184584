"""Enrolment and the run's state over TLS, between the real two sides."""

import dataclasses
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette

from sealgate.network.bounded_http import HttpExchange
from sealgate.reasons import Reason, SealgateError
from sealgate.setup.credentials import CertificateAuthority
from sealgate.trust.canonical import sha256
from training.federated.enrolment import (
    LARGEST_REQUEST,
    FederationInvitation,
    RowShape,
    digest_of,
    new_key,
    new_token,
    public_pem,
)
from training.federated.http_requests import (
    EntryTerms,
    FederationServer,
    FederationState,
    RemoteClients,
)

HOST, RECIPE = "127.0.0.1", "[federated]\n"
TOKENS = [new_token() for _ in range(2)]


def authority() -> CertificateAuthority:
    return CertificateAuthority("federation", datetime.now(UTC), timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Entry:
    clients: RemoteClients
    admitted: list[bytes]
    listed: Path
    invitation: FederationInvitation

    def refusal(self, body: bytes) -> Reason:
        with pytest.raises(SealgateError) as refused:
            FederationServer(self.invitation).enrol(body)
        return refused.value.reason


@contextmanager
def served(clients: RemoteClients, own: tuple[Path, Path]) -> Iterator[int]:
    """The port."""
    config = uvicorn.Config(
        Starlette(routes=list(clients.routes())),
        host=HOST,
        port=0,
        ssl_certfile=str(own[0]),
        ssl_keyfile=str(own[1]),
        log_level="error",
        lifespan="off",
    )
    server, up = uvicorn.Server(config), threading.Event()
    listen = config.bind_socket()
    original = server.startup

    async def startup(*words: object, **named: object) -> None:
        await original(*words, **named)  # type: ignore[arg-type]
        up.set()

    server.startup = startup  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listen]})
    thread.start()
    assert up.wait(60)
    try:
        yield listen.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def entry(tmp_path: Path) -> Iterator[Entry]:
    trusted = authority()
    own = trusted.server("server", (HOST,))
    files = tmp_path / "server.pem", tmp_path / "key.pem"
    for file, data in zip(files, (own.certificate, own.key), strict=True):
        file.write_bytes(data)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    recipe, server = sha256(RECIPE.encode()), sha256(trusted.pem)
    issued = tuple(map(digest_of, TOKENS))
    terms = EntryTerms(HOST, 0, issued, until, recipe, server)
    terms.write(tmp_path / "entry.json")
    assert EntryTerms.read(tmp_path / "entry.json") == terms
    assert not any(token in (tmp_path / "entry.json").read_text() for token in TOKENS)
    admitted, listed = list[bytes](), tmp_path / "enrolled.json"
    clients = RemoteClients(terms, admitted.append, listed)
    with served(clients, files) as port:
        rows = RowShape((64,), 10, 0.0, 1.0)
        invitation = FederationInvitation(
            f"{HOST}:{port}", trusted.pem.decode(), TOKENS[0], RECIPE, rows, until
        )
        yield Entry(clients, admitted, listed, invitation)


def test_clients_enrol_and_are_listed(entry: Entry) -> None:
    keys = [new_key() for _ in TOKENS]
    for place, (token, key) in enumerate(zip(TOKENS, keys, strict=True)):
        invitation = dataclasses.replace(entry.invitation, token=token)
        for _ in range(2):
            assert FederationServer(invitation).enrol(invitation.request(key)) == place
    assert entry.admitted == [public_pem(key).encode() for key in keys]
    listed = json.loads(entry.listed.read_bytes())
    assert [row["key"] for row in listed] == [public_pem(key) for key in keys]
    assert {row["address"] for row in listed} == {HOST}
    entry.clients.wait()


def test_refusals_arrive_with_their_reasons(entry: Entry) -> None:
    made = entry.invitation
    unknown = dataclasses.replace(made, token=new_token())
    assert entry.refusal(unknown.request(new_key())) is Reason.ENROLMENT_TOKEN
    other = dataclasses.replace(made, recipe="[federated]\nrounds = 9\n")
    assert entry.refusal(other.request(new_key())) is Reason.ENROLMENT_RECIPE
    elsewhere = dataclasses.replace(made, authority="another")
    assert entry.refusal(elsewhere.request(new_key())) is Reason.ENROLMENT_KEY
    assert entry.refusal(b"{}") is Reason.DOCUMENT_MALFORMED
    assert entry.refusal(b"[" * (LARGEST_REQUEST + 1)) is Reason.MESSAGE_TOO_LARGE
    assert entry.admitted == []
    FederationServer(made).enrol(made.request(new_key()))
    assert entry.refusal(made.request(new_key())) is Reason.ENROLMENT_USED
    assert len(entry.admitted) == 1


def test_a_server_of_another_authority_is_not_told_the_token(entry: Entry) -> None:
    other = dataclasses.replace(entry.invitation, authority=authority().pem.decode())
    with pytest.raises(SealgateError) as refused:
        FederationServer(other).enrol(entry.invitation.request(new_key()))
    assert refused.value.reason is Reason.FEDERATION_LOST
    assert entry.admitted == []


def test_a_server_that_does_not_listen_yet_is_asked_again(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = HttpExchange.run, iter([ConnectionRefusedError()] * 5)

    def run(self: HttpExchange) -> tuple[int, bytes]:
        if (error := next(refusals, None)) is not None:
            raise error
        return real(self)

    monkeypatch.setattr(HttpExchange, "run", run)
    body = entry.invitation.request(new_key())
    with pytest.raises(SealgateError) as refused:
        FederationServer(entry.invitation).enrol(body, patience=0.0)
    assert refused.value.reason is Reason.FEDERATION_LOST
    assert FederationServer(entry.invitation).enrol(body, pause=0.0) == 0
    assert next(refusals, None) is None


def test_an_authority_that_is_no_certificate_is_refused(entry: Entry) -> None:
    with pytest.raises(SealgateError) as refused:
        FederationServer(dataclasses.replace(entry.invitation, authority="no certificate"))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_clients_learn_how_the_run_ended(entry: Entry) -> None:
    server, made = FederationServer(entry.invitation), entry.invitation
    place = server.enrol(made.request(new_key()))
    entry.clients.begin(2)
    assert server.state(place) == FederationState(2)
    ended = threading.Thread(target=end_well, args=(entry.clients,))
    ended.start()
    # The server stays until its only client knows.
    while not (state := server.state(place)).ended:
        assert ended.is_alive()
    ended.join(60)
    assert state == FederationState(2, True, "", "sha256:00")


def end_well(clients: RemoteClients) -> None:
    with clients.informing(lambda: "sha256:00", lambda: 0):
        pass


def test_clients_learn_why_there_is_no_result(entry: Entry) -> None:
    # The only client does not answer any more, so nobody is waited for.
    server = FederationServer(entry.invitation)
    place = server.enrol(entry.invitation.request(new_key()))
    with pytest.raises(SealgateError), entry.clients.informing(lambda: "", lambda: 1):
        raise SealgateError(Reason.CLIENTS_TOO_FEW)
    assert server.state(place) == FederationState(0, True, "CLIENTS_TOO_FEW", "")
