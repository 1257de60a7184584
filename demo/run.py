"""`python -m demo.run`: a gateway for use, with the digits model in production, until Ctrl-C."""

import argparse
import contextlib
from pathlib import Path

import grpc
import numpy as np

from demo.questions import question, reason_for
from demo.stage import Stage, StepFailed
from demo.story import DATA, MODELS, promote_approved, test_rows
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path("state"))
    parser.add_argument("--port", type=int, default=8443)
    arguments = parser.parse_args()
    stage = Stage(arguments.state)
    if not (arguments.state / "gateway.toml").exists():
        stage.command("init", "--port", str(arguments.port))
    try:
        stage.start_gateway()
        _ensure_digits(stage)
        _say_how(stage)
        with contextlib.suppress(KeyboardInterrupt):
            stage.wait()
    except (StepFailed, grpc.RpcError) as error:
        raise SystemExit(f"{error}") from error
    finally:
        stage.stop_gateway()


def _ensure_digits(stage: Stage) -> None:
    rows = test_rows("digits")[:5]
    np.savetxt(stage.state / "rows.csv", rows, delimiter=",", fmt="%g")
    with connect(stage.profile("client")) as channel:
        answers = reason_for(GRPCInferenceServiceStub(channel), question("digits", rows)) is None
    if not answers:
        folder, data = MODELS / "digits-1", DATA / "digits.safetensors"
        published = stage.command(
            "model", "publish", str(folder), "--data", str(data), "--json", person="publisher"
        )
        promote_approved(stage, "digits", published["version"])


def _say_how(stage: Stage) -> None:
    flag = "" if stage.state == Path("state") else f"--state {stage.state} "
    stage.console.print(
        f"""
[bold]The gateway serves digits.[/bold] Tokens at {stage.profile("client").endpoint}, \
certificates at {stage.profile("admin").endpoint}. From another terminal:

  . .venv/bin/activate
  sealgate {flag}infer digits --input {stage.state}/rows.csv --receipt receipt.json
  sealgate {flag}receipt verify receipt.json
  sealgate {flag}model history digits
  sealgate {flag}audit verify

Ctrl-C stops it; {stage.state} keeps everything for the next time.""",
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()
