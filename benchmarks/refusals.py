"""`make bench NAME=refusals`: the cost of refusing bad credentials, beside a good request.

A gateway runs in a process of its own on one core, and one caller on another asks it the same
question with each credential in turn, in blocks, so that whatever else the machine does falls on
all of them alike. Prints the server's CPU and the p50 of a call, and their ratios to those of a
question that is answered: screened, run, recorded durably, with its token verified a moment before.
Writes results/refusals.json.
"""

import argparse
import base64
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import jwt
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.processes import Cores, Server, pinned
from benchmarks.report import Target, write_report
from demo.materials import DATA, MODELS, test_rows
from demo.questions import question
from demo.stage import Stage, free_ports
from demo.story import promote_approved
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import Profile, connect, reason_of
from sealgate.setup.credentials import mint_token, new_issuer_key
from sealgate.trust.times import format_time
from sealgate.v1.credential_pb2 import CreateApiKeyRequest, RevokeApiKeyRequest
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub

_GOOD = "a good token, seen before"
_FIRST = "a good token, seen for the first time"
# A third of a good request: far enough that whoever floods it does not get more done there
# than by asking.
_FAR_BELOW = 1 / 3

# What is sent as `authorization`, anew for each call; and the reason for which it is refused.
Credential = tuple[Callable[[], str | None], Reason | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100, help="of each kind in a block")
    parser.add_argument("--rounds", type=int, default=10, help="of blocks")
    asked = parser.parse_args()
    cores = Cores.of_this_machine()
    with TemporaryDirectory() as folder, pinned({cores.client}):
        stage = Stage(Path(folder) / "state")
        _prepare(stage)
        port = int(stage.profile("client").endpoint.rpartition(":")[2])
        words = [sys.executable, "-m", "sealgate.cli.main", "--state", str(stage.state), "serve"]
        server = Server(words, cores.server, Path(folder) / "server.log")
        try:
            server.await_port(port)
            table = _measure(stage, server, asked.calls, asked.rounds)
        finally:
            server.stop()
    show(table)
    targets = [
        Target(f"CPU of refusing {row['what']}, times a good request's", row["cpu"], _FAR_BELOW)
        for row in table
        if row["refused"]
    ]
    for target in targets:
        Console().print(target.line(), highlight=False)
    write_report("refusals", table, targets)


def show(table: list[dict[str, Any]]) -> None:
    shown = Table(title="one ModelInfer with each credential", title_justify="left")
    for name in ("credential", "refused as", "CPU ms", "times good", "p50 ms", "times good"):
        shown.add_column(name, justify="left" if name in ("credential", "refused as") else "right")
    for row in table:
        figures = (row["cpu_ms"], row["cpu"], row["p50_ms"], row["p50"])
        shown.add_row(row["what"], row["refused"] or "-", *(f"{value:.2f}" for value in figures))
    Console(highlight=False).print(shown)


def _prepare(stage: Stage) -> None:
    """A version in production, by a gateway that then makes room for the one that is measured."""
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()))
    stage.start_gateway()
    try:
        stage.command(
            *("model", "publish", str(MODELS / "digits-1")),
            *("--data", str(DATA / "digits.safetensors"), "--json"),
            person="publisher",
        )
        promote_approved(stage, "digits", 1)
    finally:
        stage.stop_gateway()


def _credentials(stage: Stage) -> Mapping[str, Credential]:
    key = (stage.state / "issuer" / "issuer.key").read_bytes()
    good = _token(key)
    head, claims, signature = good.split(".")
    forged = base64.urlsafe_b64encode(secrets.token_bytes(64)).rstrip(b"=").decode()
    known, revoked = _api_keys(stage.profile("admin"))
    return {
        _GOOD: (lambda: good, None),
        _FIRST: (lambda: _token(key, jti=secrets.token_hex(8)), None),
        "nothing": (lambda: None, Reason.CREDENTIAL_MISSING),
        "nonsense": (lambda: secrets.token_hex(8), Reason.TOKEN_MALFORMED),
        "8 KiB of nonsense": (lambda: f"{head}.{'A' * 8000}.{signature}", Reason.TOKEN_MALFORMED),
        "another issuer's token": (_always(_token(key, iss="https://x")), Reason.TOKEN_ISSUER),
        "a token for others": (_always(_token(key, aud="others")), Reason.TOKEN_AUDIENCE),
        "an expired token": (_always(_token(key, exp=1_700_000_000)), Reason.TOKEN_EXPIRED),
        "a token by an unknown key": (_always(_token(key, kid="none")), Reason.TOKEN_SIGNATURE),
        "a token by another key": (_always(_token(new_issuer_key())), Reason.TOKEN_SIGNATURE),
        "a forged signature": (_always(f"{head}.{claims}.{forged}"), Reason.TOKEN_SIGNATURE),
        "a stranger's token": (
            lambda: _token(key, sub="stranger", jti=secrets.token_hex(8)),
            Reason.PRINCIPAL_UNKNOWN,
        ),
        "an unknown API key": (
            lambda: f"sg_{secrets.token_hex(6)}_{'A' * 43}",
            Reason.API_KEY_INVALID,
        ),
        "an API key with another secret": (
            _always(known[: len("sg_0123456789ab_")] + "A" * 43),
            Reason.API_KEY_INVALID,
        ),
        "a revoked API key": (_always(revoked), Reason.API_KEY_REVOKED),
    }


def _always(text: str) -> Callable[[], str]:
    return lambda: text


def _token(key: bytes, kid: str = "", **claims: Any) -> str:
    """A client's token with some claims of its own."""
    made = mint_token(key, "client", datetime.now(UTC), timedelta(hours=1))
    header = jwt.get_unverified_header(made)
    told = jwt.decode(made, options={"verify_signature": False})
    header["kid"] = kid or header["kid"]
    return jwt.encode({**told, **claims}, key, algorithm="ES256", headers=header)


def _api_keys(admin: Profile) -> tuple[str, str]:
    """A key that holds, and one that does not any more."""
    with connect(admin) as channel:
        stub = CredentialServiceStub(channel)
        expires = format_time(datetime.now(UTC) + timedelta(hours=1))
        made = [
            stub.CreateApiKey(
                CreateApiKeyRequest(holder="client", label="bench", expire_time=expires), timeout=10
            )
            for _ in range(2)
        ]
        name = made[1].api_key.name
        stub.RevokeApiKey(RevokeApiKeyRequest(name=name, reason="measured"), timeout=10)
    return made[0].secret, made[1].secret


def _measure(stage: Stage, server: Server, calls: int, rounds: int) -> list[dict[str, Any]]:
    profile = stage.profile("client")
    trusted = grpc.ssl_channel_credentials(profile.server_authority.read_bytes())
    credentials = _credentials(stage)
    ticks = dict.fromkeys(credentials, 0)
    times: dict[str, list[float]] = {what: [] for what in credentials}
    with grpc.secure_channel(profile.endpoint, trusted) as channel:
        stub = GRPCInferenceServiceStub(channel)
        rows = test_rows("digits")
        request = next(
            asked
            for asked in (question("digits", row[None]) for row in rows)
            if _reason(stub, asked, credentials[_GOOD][0]()) is None
        )
        for _ in range(rounds):
            for what, (credential, reason) in credentials.items():
                sent = [credential() for _ in range(calls)]
                before = sum(server.ticks().values())
                for text in sent:
                    began = time.perf_counter()
                    found = _reason(stub, request, text)
                    times[what].append(time.perf_counter() - began)
                    if found is not reason:
                        raise SystemExit(f"{what}: {found} instead of {reason}")
                ticks[what] += sum(server.ticks().values()) - before
    return _rows(credentials, ticks, times)


def _reason(stub: GRPCInferenceServiceStub, request: Any, text: str | None) -> Reason | None:
    metadata = [] if text is None else [("authorization", f"Bearer {text}")]
    try:
        stub.ModelInfer(request, metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return reason_of(error)
    return None


def _rows(
    credentials: Mapping[str, Credential],
    ticks: Mapping[str, int],
    times: Mapping[str, list[float]],
) -> list[dict[str, Any]]:
    second = os.sysconf("SC_CLK_TCK")
    cpu = {what: ticks[what] / second / len(times[what]) * 1000 for what in times}
    p50 = {what: float(np.percentile(times[what], 50)) * 1000 for what in times}
    return [
        {
            "what": what,
            "refused": reason.name if reason else "",
            "calls": len(times[what]),
            "cpu_ms": cpu[what],
            "cpu": cpu[what] / cpu[_GOOD],
            "p50_ms": p50[what],
            "p50": p50[what] / p50[_GOOD],
        }
        for what, (_, reason) in credentials.items()
    ]


if __name__ == "__main__":
    main()
