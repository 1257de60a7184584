"""`python -m demo.run`: a gateway for use, with the digits model in production, until Ctrl-C."""

import argparse
import signal
from pathlib import Path

import grpc
import numpy as np

from demo.materials import DATA, MODELS, test_rows
from demo.questions import question, reason_for
from demo.stage import Stage, StepFailed, check_free
from demo.story import promote_approved
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import connect

# What a request for digits is refused with while it has never been promoted here.
_NOT_YET = (Reason.MODEL_UNKNOWN, Reason.ALIAS_UNKNOWN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path("state"))
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--no-console", action="store_true")
    arguments = parser.parse_args()
    stage = Stage(arguments.state)
    # Else the gateway would outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not (arguments.state / "gateway.toml").exists():
            check_free(f"127.0.0.1:{arguments.port}")
            stage.command("init", "--unencrypted-keys", "--port", str(arguments.port))
        else:
            _renew_token(stage)
        stage.start_gateway()
        _ensure_digits(stage)
        link = "" if arguments.no_console else _start_console(stage)
        _say_how(stage, link)
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
        folder, data = MODELS / "digits-1", DATA / "digits.safetensors"
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


def _start_console(stage: Stage) -> str:
    """The link that signs the admin in; empty for an installation that has no console."""
    if not (stage.state / "console.toml").exists():
        return ""
    stage.start_console()
    return str(stage.command("console", "link", "admin")).strip()


def _say_how(stage: Stage, link: str) -> None:
    flag = "" if stage.state == Path("state") else f"--state {stage.state} "
    origin = link.partition("/links/")[0]
    console = f"""
The console is at [bold]{origin}[/bold]. This link signs you in as admin, once:

  {link}

For another person: sealgate {flag}console link approver-1
"""
    stage.console.print(
        f"""
[bold]The gateway serves digits.[/bold] Tokens at {stage.profile("client").endpoint}, \
certificates at {stage.profile("admin").endpoint}. From another terminal:

  . .venv/bin/activate
  sealgate {flag}infer digits --input {stage.state}/rows.csv --receipt {stage.state}/receipt.json
  sealgate {flag}receipt verify {stage.state}/receipt.json
  sealgate {flag}model history digits
  sealgate {flag}audit verify --wait 30
{console if link else ""}
Ctrl-C stops it; {stage.state} keeps everything for the next time, and the gateway's own log.""",
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()
