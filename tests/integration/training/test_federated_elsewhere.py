"""`sealgate federate server` and `join`: ten clients, each in a network of its own with an address
of its own where that is permitted, else on loopback; one is cut off in the middle.
"""

import dataclasses
import itertools
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from publishing.source.folder import Origin
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.training.federated_recipes import FEDERATED, PERCEPTRON, written
from tests.support.harness.network.other_network import OtherNetwork, other_network
from tests.support.oracles import programs
from training.federated.enrolment import (
    EnrolledClient,
    FederationInvitation,
    new_key,
    new_token,
)
from training.federated.federation import Federation
from training.federated.http_requests import FederationServer

CLIENTS, CUT = 10, 3
LIMIT = 1500
# Another address than that of most tests' servers, so that nothing else answers at it.
LOOPBACK = "127.0.0.2"
FEDERATED_HERE = FEDERATED.replace("rounds = 2", "rounds = 5") + (
    f'clients = {CLIENTS}\npatience = 150.0\nrule = "lowest-loss"\n'
)
pytestmark = pytest.mark.timeout(LIMIT + 60)


def until(met: Callable[[], bool], *alive: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + LIMIT
    while not met():
        assert time.monotonic() < ends
        assert all(process.poll() is None for process in alive)
        time.sleep(0.1)


@dataclass(slots=True)
class ElsewhereRun:
    """A run that has ended; `refused` is what the server said to those that were not invited."""

    out: Path
    clients: Path
    networks: list[OtherNetwork]
    refused: dict[str, Any] = field(default_factory=dict)
    status: int = -1
    told: str = ""

    def client(self, at: int, suffix: str) -> str:
        path = self.clients / f"{at:03d}.{suffix}"
        return path.read_text() if path.exists() else ""

    def place(self, at: int) -> int:
        """By which a client goes in the account."""
        said = self.client(at, "err").splitlines()[0]
        return int(said.split("as client ")[1].split(",")[0])

    def definition(self) -> dict[str, Any]:
        files = {path.name: path.read_bytes() for path in (self.out / "model").iterdir()}
        origin = Origin.decode(files.pop("provenance.json"))
        origin.check(files)
        found: dict[str, Any] = origin.statement["predicate"]["buildDefinition"]
        return found

    @property
    def account(self) -> dict[str, Any]:
        found: dict[str, Any] = self.definition()["internalParameters"]["federated"]
        return found


@pytest.fixture(scope="module")
def networks() -> Iterator[list[OtherNetwork]]:
    """One for each client; none where they are not permitted."""
    with ExitStack() as stack:
        made: list[OtherNetwork] = []
        with suppress(pytest.skip.Exception):
            made = [stack.enter_context(other_network()) for _ in range(CLIENTS)]
        yield made


@pytest.fixture(scope="module")
def run(networks: list[OtherNetwork], tmp_path_factory: pytest.TempPathFactory) -> ElsewhereRun:
    python = programs.own_python_with("federated", "flwr")
    folder = tmp_path_factory.mktemp("elsewhere")
    recipe = written(folder, PERCEPTRON, FEDERATED_HERE)
    rows = Federation(recipe, folder / "rows", lambda *_: None).write_shards()
    found = ElsewhereRun(folder / "made", folder / "clients", networks)
    found.clients.mkdir()
    host = networks[0].ours if networks else LOOPBACK
    with socket.create_server((host, 0)) as free:
        listen = f"{host}:{free.getsockname()[1]}"
    environment = os.environ | {"FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    command = [python, "-m", "sealgate.cli.main", "federate", "server", str(recipe)]
    command += ["--out", str(found.out), "--listen", listen, "--json"]
    told = folder / "server.err"
    with (
        told.open("wb") as errors,
        (folder / "server.out").open("wb") as output,
        ExitStack() as end,
    ):
        server = subprocess.Popen(
            command, cwd=programs.ROOT, env=environment, stdout=output, stderr=errors
        )
        end.callback(server.wait)
        end.callback(server.terminate)
        until(lambda: "invitations" in told.read_text(), server)
        invitations = sorted((found.out / "run" / "invitations").iterdir())
        assert {path.stat().st_mode & 0o777 for path in invitations} == {0o600}
        found.refused = refusals(FederationInvitation.decode(invitations[0].read_bytes()))
        names = [network.name for network in networks] or [""] * CLIENTS
        words = [
            (["join", str(invitation), "--data", str(file), "--json"], name)
            for invitation, file, name in zip(invitations, rows, names, strict=True)
        ]
        (found.clients / "clients.json").write_text(json.dumps(words))
        program = "tests.support.harness.processes.joining_clients"
        joined = subprocess.Popen(
            [python, "-m", program, str(found.clients)], cwd=programs.ROOT, env=environment
        )
        end.callback(joined.wait)
        end.callback(joined.terminate)
        until(lambda: "round 1 " in told.read_text(), server)
        stranger = int(found.client(CUT, "pid"))
        if networks:
            networks[CUT].cut()
        else:
            os.kill(stranger, signal.SIGSTOP)
        until(lambda: server.poll() is not None)
        found.status, found.told = server.wait(), told.read_text()
        until(lambda: sum(bool(found.client(at, "status")) for at in range(CLIENTS)) >= CLIENTS - 1)
        with suppress(ProcessLookupError):
            os.kill(stranger, signal.SIGKILL)
    return found


def refusals(invitation: FederationInvitation) -> dict[str, Any]:
    """Return the refusals of clients without a valid invitation; none uses the token up."""
    found: dict[str, Any] = {}

    def attempt(name: str, trusted: FederationInvitation, body: bytes) -> None:
        try:
            FederationServer(trusted).enrol(body)
            found[name] = None
        except SealgateError as refusal:
            found[name] = refusal.reason

    unknown = dataclasses.replace(invitation, token=new_token())
    attempt("unknown", invitation, unknown.request(new_key()))
    other = dataclasses.replace(invitation, recipe=invitation.recipe + "\n")
    attempt("recipe", invitation, other.request(new_key()))
    attempt("large", invitation, b"[" * (1 << 14))
    host, _, port = invitation.server.rpartition(":")
    context = ssl.create_default_context(cadata=invitation.authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((host, int(port))) as plain:
        try:
            context.wrap_socket(plain, server_hostname=host)
            found["TLS 1.2"] = "taken"
        except (ssl.SSLError, ConnectionError):
            found["TLS 1.2"] = "refused"
    context = ssl.create_default_context(cadata=invitation.authority)
    for name, head in (
        ("large message", b"Content-Length: 1000000000"),
        ("unsized message", b"Transfer-Encoding: chunked"),
    ):
        request = b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n"
        with (
            socket.create_connection((host, int(port))) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            secure.sendall(request)
            found[name] = int(secure.recv(12).split()[1])
    return found


def test_who_was_not_invited_is_refused(run: ElsewhereRun) -> None:
    assert run.refused == {
        "unknown": Reason.ENROLMENT_TOKEN,
        "recipe": Reason.ENROLMENT_RECIPE,
        "large": Reason.MESSAGE_TOO_LARGE,
        "TLS 1.2": "refused",
        "large message": 413,
        "unsized message": 413,
    }


def test_the_run_ends_without_the_client_that_was_cut_off(run: ElsewhereRun) -> None:
    assert run.status == 0, run.told
    rounds, gone = run.account["rounds"], run.place(CUT)
    assert len(rounds) == 5
    assert sorted(itertools.chain(*rounds[0]["groups"])) == list(range(CLIENTS))
    assert any(gone in group for each in rounds for group in each["broken"])
    assert gone not in itertools.chain(*rounds[-1]["groups"])
    assert len(list(itertools.chain(*rounds[-1]["groups"]))) == CLIENTS - 1


def test_the_others_learn_the_result(run: ElsewhereRun) -> None:
    others = [at for at in range(CLIENTS) if at != CUT]
    assert {run.client(at, "status") for at in others} == {"0"}
    told = [json.loads(run.client(at, "out")) for at in others]
    assert {each["weights"] for each in told} == {run.account["weights"]}
    assert {each["rounds"] for each in told} == {5}
    assert not run.client(CUT, "out")


def test_clients_come_from_addresses_of_their_own(run: ElsewhereRun) -> None:
    lines = [line for line in run.told.splitlines() if line.startswith("enrolled")]
    assert len(lines) == CLIENTS
    wanted = {network.host for network in run.networks} or {LOOPBACK}
    addresses = {line.rpartition(" ")[2] for line in lines}
    assert addresses == wanted if run.networks else len(addresses) == 1


def test_evidence_has_what_each_client_signed(run: ElsewhereRun) -> None:
    account = run.account
    recipe = run.definition()["externalParameters"]["recipe_digest"]
    clients = [EnrolledClient.decode(each) for each in account["participants"]]
    assert len({client.key for client in clients}) == CLIENTS
    for client in clients:
        client.verify(recipe, account["server"])
        with pytest.raises(SealgateError) as refused:
            client.verify(account["server"], account["server"])
        assert refused.value.reason is Reason.ENROLMENT_KEY
    assert (account["rule"], account["clients"]) == ("lowest-loss", CLIENTS)


def test_no_token_or_key_stays(run: ElsewhereRun) -> None:
    assert sorted(path.name for path in run.out.iterdir()) == [
        "curves.jsonl",
        "data.safetensors",
        "model",
        "plots",
        "report.json",
    ]
