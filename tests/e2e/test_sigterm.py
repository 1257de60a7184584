"""A gateway that is told to end under load: what was answered is recorded, and it ends cleanly."""

from pathlib import Path

import pytest

from demo.materials import DATA, MODELS
from demo.questions import Load
from demo.stage import Stage, free_ports
from demo.story import promote_approved
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect
from tests.support.harness.gateway import rows

pytestmark = pytest.mark.slow


def recorded(stage: Stage) -> int:
    logs = stage.command("audit", "verify", "--wait", "60", "--json", person="auditor")
    return next(int(log["entries"]) for log in logs if log["log"].endswith("/answers"))


def test_sigterm_under_load_ends_cleanly_and_keeps_every_answer(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "state")
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()))
    stage.start_gateway()
    try:
        data = str(DATA / "digits.safetensors")
        folder = str(MODELS / "digits-standard")
        stage.command("model", "publish", folder, "--data", data, person="publisher")
        promote_approved(stage, "digits", 1)
        before = recorded(stage)
        with (
            connect(stage.profile("client")) as channel,
            Load(GRPCInferenceServiceStub(channel), "digits", rows(count=20)) as load,
        ):
            load.wait_for("1")
            status = stage.stop_gateway()
        stage.start_gateway()
        after = recorded(stage)
    finally:
        stage.stop_gateway()
    assert status == 0
    answered = sum(load.versions.values())
    # Refusals by screening are recorded too, so there may be more entries than answers.
    assert after - before >= answered > 0
