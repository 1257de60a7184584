"""`python -m demo.run`: a gateway for use, with the digits model in production, until Ctrl-C."""

import argparse
import re
import signal
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np

from demo.materials import DATA, MODELS, test_rows
from demo.questions import question, reason_for
from demo.stage import Stage, StepFailed, check_free
from demo.story import promote_approved
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import connect
from sealgate.setup.people import kept_passkey
from sealgate.v1.registry_pb2 import ListModelsRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

APPROVER = "approver-1"
"""The person who makes a passkey by a link, to approve in the browser."""
# The reasons for which a request for digits is refused before its first promotion here.
_NOT_YET = (Reason.MODEL_UNKNOWN, Reason.ALIAS_UNKNOWN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path("state"))
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--console-port", type=int)
    parser.add_argument("--no-console", action="store_true")
    arguments = parser.parse_args()
    stage = Stage(arguments.state)
    # Else the gateway would outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not (arguments.state / "gateway.toml").exists():
            check_free(f"127.0.0.1:{arguments.port}")
            ports = ["--port", str(arguments.port)]
            if arguments.console_port:
                ports += ["--console-port", str(arguments.console_port)]
            stage.command("init", "--unencrypted-keys", *ports)
        else:
            _renew_token(stage)
        stage.start_gateway()
        _ensure_digits(stage)
        links = None if arguments.no_console else _start_console(stage)
        _say_how(stage, links)
        made = kept_passkey(stage.state / "console-links", APPROVER)
        if links is not None and stage.wait(made.exists):
            _list_passkey(stage)
        stage.wait()
    except KeyboardInterrupt:
        pass
    except (StepFailed, grpc.RpcError) as error:
        raise SystemExit(f"{error}") from error
    finally:
        stage.stop_console()
        stage.stop_gateway()


def _ensure_digits(stage: Stage) -> None:
    rows = test_rows("digits")[:5]
    np.savetxt(stage.state / "rows.csv", rows, delimiter=",", fmt="%g")
    with connect(stage.profile("client")) as channel:
        reason = reason_for(GRPCInferenceServiceStub(channel), question("digits", rows))
    if reason in _NOT_YET:
        folder, data = MODELS / "digits-standard", DATA / "digits.safetensors"
        published = stage.command(
            "model", "publish", str(folder), "--data", str(data), "--json", person="publisher"
        )
        promote_approved(stage, "digits", published["version"])
    elif reason is not None:
        raise StepFailed(f"digits does not answer: {reason.name}: {reason.sentence}")


def _renew_token(stage: Stage) -> None:
    """The client's token is good for half a day, and the installation for longer."""
    token = stage.profile("client").token
    if token is not None:
        token.write_text(stage.command("token", "client").strip())


class Links(NamedTuple):
    """One-time links to the console: the admin signs in, an approver makes a passkey."""

    admin: str
    approver: str


def _start_console(stage: Stage) -> Links | None:
    """Start it; None for an installation that has no console."""
    if not (stage.state / "console.toml").exists():
        return None
    stage.start_console()
    enrol = re.search(r"http\S+", str(stage.command("person", "enrol", APPROVER)))
    if enrol is None:
        raise StepFailed("no enrolment link")
    return Links(str(stage.command("console", "link", "admin")).strip(), enrol[0])


def _list_passkey(stage: Stage) -> None:
    """Have the roots list the passkey that the approver made, and propose something to approve."""
    draft = str(stage.state / "policy-next.json")
    stage.command("person", "passkey", APPROVER, "--accept", "--draft", draft)
    kept_passkey(stage.state / "console-links", APPROVER).unlink()
    with connect(stage.profile("auditor")) as channel:
        request = ListModelsRequest(filter='name = "models/digits"', page_size=1)
        found = RegistryServiceStub(channel).ListModels(request).models
    version = found[0].latest_version
    if version == 1:
        folder, data = MODELS / "digits-hardened", DATA / "digits.safetensors"
        words = ("model", "publish", str(folder), "--data", str(data), "--json")
        version = stage.command(*words, person="publisher")["version"]
    stage.command("model", "propose", "digits", str(version), person="publisher")
    stage.console.print(
        f"\n[bold]{APPROVER} has a passkey now[/bold]. Sign in with it: "
        f"version {version} of digits waits for approval.",
        soft_wrap=True,
    )


def _say_how(stage: Stage, links: Links | None) -> None:
    flag = "" if stage.state == Path("state") else f"--state {stage.state} "
    console = "" if links is None else _console_words(flag, links)
    stage.console.print(
        f"""
[bold]The gateway serves digits.[/bold] Tokens at {stage.profile("client").endpoint}, \
certificates at {stage.profile("admin").endpoint}. From another terminal:

  . .venv/bin/activate
  sealgate {flag}infer digits --input {stage.state}/rows.csv --receipt {stage.state}/receipt.json
  sealgate {flag}receipt verify {stage.state}/receipt.json
  sealgate {flag}model history digits
  sealgate {flag}audit verify --wait 30
{console}
Ctrl-C stops it; {stage.state} keeps everything for the next time, and the gateway's own log.""",
        soft_wrap=True,
    )


def _console_words(flag: str, links: Links) -> str:
    origin = links.admin.partition("/links/")[0]
    return f"""
The console is at [bold]{origin}[/bold]. This link signs you in as admin, once:

  {links.admin}

By this link, make a passkey for {APPROVER}. This machine's root keys then list it, and a version \
of digits is proposed, for you to approve in the browser:

  {links.approver}

For another person: sealgate {flag}console link approver-2
"""


if __name__ == "__main__":
    main()
