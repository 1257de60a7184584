"""The story that `make demo` plays, a function for each step, every claim checked as it happens."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import numpy as np
from safetensors.numpy import load_file

from demo.materials import DATA, FOLDERS, MODELS, test_rows
from demo.questions import Load, question, reason_for
from demo.screening import screen
from demo.stage import Stage, free_ports
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.promotion.documents import Governance
from sealgate.reasons import Reason
from sealgate.remote import connect
from sealgate.setup.credentials import mint_token, new_issuer_key
from sealgate.setup.installation import PEOPLE
from sealgate.trust import canonical

_ROLLBACK_SECONDS = 1.0


def initialise(stage: Stage) -> None:
    stage.title("1. Make an installation: keys, certificates, people, a signed policy")
    ports = ("--port", str(free_ports()), "--console-port", str(free_ports()))
    stage.command("init", "--unencrypted-keys", "--name", "demo", *ports)
    people = sorted(path.name for path in (stage.state / "people").iterdir())
    wanted = sorted(person.name for person in PEOPLE)
    stage.check("installation", people == wanted, ", ".join(people))
    stage.start_gateway()


def publish(stage: Stage) -> None:
    stage.title("2. Publish: commit, mark, quantize, golden answers, calibrate, sign, register")
    for folder, model in FOLDERS.items():
        published = stage.command(
            *("model", "publish", str(MODELS / folder)),
            *("--data", str(DATA / f"{model}.safetensors"), "--json"),
            person="publisher",
        )
        stage.check(
            f"publish {folder}",
            published["watermark_z_int8"] >= 12,
            f"version {published['version']}, mark read from the INT8 file at "
            f"z = {published['watermark_z_int8']:.1f}, accuracy "
            f"{published['accuracy_int8']:.3f} (before: {published['accuracy_source']:.3f})",
        )


def promote(stage: Stage) -> None:
    stage.title("3. Promote: one approval is refused, two go through")
    proposal = _propose(stage, "digits", 1)
    _approve(stage, proposal, "approver-1")
    reason = stage.refused(*_promotion(proposal), person="admin")
    stage.check("one approval", reason == Reason.APPROVALS_MISSING.name, f"refused, {reason}")
    reason = stage.refused(
        *("model", "approve", proposal, "--meaning", "approved again"), person="approver-1"
    )
    stage.check("the same approver twice", reason == Reason.APPROVAL_EXISTS.name, reason)
    _approve(stage, proposal, "approver-2")
    pointer = stage.command(*_promotion(proposal), "--json", person="admin")
    stage.check("two approvals", pointer["version"] == 1, "digits 1 is in production")
    promote_approved(stage, "breast-cancer", 1)
    _look(stage)


def _look(stage: Stage) -> None:
    """Sign in to the console by a one-time link, as a person does in a browser."""
    stage.start_console()
    link = str(stage.command("console", "link", "auditor")).strip()
    origin = link.partition("/links/")[0]
    with httpx2.Client(base_url=origin, headers={"Origin": origin}, timeout=60) as browser:
        signed_in = browser.post(link).raise_for_status()
        session = signed_in.headers["set-cookie"].partition(";")[0]
        page = browser.get("/", headers={"Cookie": session}).raise_for_status().text
    stage.stop_console()
    live = [name for name in ("digits", "breast-cancer") if f"/models/{name}/versions/1" in page]
    stage.check("console", len(live) == 2, f"answered; it shows {' and '.join(live)} live")


def ask(stage: Stage) -> None:
    stage.title("4. Ask: clean inputs, attacks, and requests that must be refused")
    with connect(stage.profile("client")) as channel, stage.client("client") as client:
        stub = GRPCInferenceServiceStub(channel)
        _await_models(stub, ("digits", "breast-cancer"))
        for model in ("digits", "breast-cancer"):
            screen(stage, client, model)
        _refusals(stage, stub)


def roll_back(stage: Stage) -> None:
    stage.title("5. Promote version 2, then roll it back under load")
    rows = load_file(DATA / "digits.safetensors")["x_test"].astype(np.float32)
    with (
        connect(stage.profile("client")) as channel,
        Load(GRPCInferenceServiceStub(channel), "digits", rows) as load,
    ):
        load.wait_for("1")
        promote_approved(stage, "digits", 2)
        load.wait_for("2")
        with connect(stage.profile("admin")) as admin:
            # In this process, so that the time to start a command is not counted.
            governance = Governance(admin, stage.profile("admin"), lambda: datetime.now(UTC))
            stage.say("sealgate --as admin model rollback digits 1 --reason demo")
            governance.rollback("digits", "production", 1, "demo")
        returned = time.monotonic()
        time.sleep(0.5)
    answers = sum(load.versions.values())
    stage.check(
        "answers lost",
        not load.failures,
        f"{sum(load.failures.values())} of {answers} {dict(load.failures) or ''}".rstrip(),
    )
    late = (load.last_answer["2"] - returned) * 1000
    stage.check(
        "last answer of version 2",
        late < _ROLLBACK_SECONDS * 1000,
        f"{late:+.0f} ms after the rollback was confirmed",
    )


def tamper(stage: Stage) -> None:
    stage.title("6. Flip one byte of a stored model")
    manifest = stage.command("model", "show", "breast-cancer", "1", "--json", person="auditor")
    served = next(f for f in manifest["files"] if f["file"] == "model.int8.onnx")
    _flip_byte(stage.state / "artifacts", served["digest"])
    stage.stop_gateway()
    stage.start_gateway()
    rows = load_file(DATA / "digits.safetensors")["x_test"][:1].astype(np.float32)
    with connect(stage.profile("client")) as channel:
        stub = GRPCInferenceServiceStub(channel)
        _await_models(stub, ("digits",))
        digits = reason_for(stub, question("digits", rows))
        cancer = reason_for(stub, question("breast-cancer", test_rows("breast-cancer")[:1]))
    stage.check(
        "tampered model",
        stage.logged("breast-cancer/production is not loaded: VERSION_ALTERED"),
        "not loaded, VERSION_ALTERED",
    )
    _expect(stage, "a request for it", cancer, Reason.VERSION_NOT_LIVE)
    stage.check("the other model", digits is None, "goes on answering")


def prove(stage: Stage) -> None:
    stage.title("7. Prove: one receipt offline, then both logs from end to end")
    row, receipt = stage.state / "row.npy", stage.state / "receipt.json"
    np.save(row, test_rows("digits")[:1])
    stage.command(
        *("infer", "digits", "--input", str(row), "--receipt", str(receipt)), person="client"
    )
    logs = stage.command("audit", "verify", "--wait", "60", "--json", person="auditor")
    found = ", ".join(f"{log['entries']} entries in {log['log']}" for log in logs)
    stage.check("logs", len(logs) == 2 and all(log["found"] == "intact" for log in logs), found)
    status = stage.stop_gateway()
    stage.check("shutdown", status == 0, f"exit status {status}")
    opened = stage.command("receipt", "verify", str(receipt), "--json", person="client")
    stage.check(
        "receipt, offline",
        opened["proof"] == "holds" and opened["outcome"] == "answered",
        f"digits {opened['version']} answered at {opened['time']}",
    )
    forged = receipt.with_name("forged.json")
    document = canonical.decode(receipt.read_bytes())
    document["opened"]["version"]["value"] = "2"
    forged.write_bytes(canonical.encode(document))
    reason = stage.refused("receipt", "verify", str(forged), person="client")
    stage.check("receipt, forged", reason == Reason.PROOF_INVALID.name, f"refused, {reason}")


STEPS: tuple[Callable[[Stage], None], ...] = (
    initialise,
    publish,
    promote,
    ask,
    roll_back,
    tamper,
    prove,
)


def _propose(stage: Stage, model: str, version: int) -> str:
    words = ("model", "propose", model, str(version), "--json")
    return str(stage.command(*words, person="publisher")["proposal"])


def _approve(stage: Stage, proposal: str, approver: str) -> None:
    stage.command("model", "approve", proposal, "--meaning", "reviewed for use", person=approver)


def _promotion(proposal: str) -> tuple[str, ...]:
    return ("model", "promote", proposal, "--reason", "demo")


def promote_approved(stage: Stage, model: str, version: int) -> None:
    proposal = _propose(stage, model, version)
    for approver in ("approver-1", "approver-2"):
        _approve(stage, proposal, approver)
    stage.command(*_promotion(proposal), person="admin")


def _await_models(stub: GRPCInferenceServiceStub, models: tuple[str, ...]) -> None:
    deadline = time.monotonic() + 60
    for model in models:
        while reason_for(stub, question(model, test_rows(model)[:1])) is not None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{model} does not answer")
            time.sleep(0.05)


def _refusals(stage: Stage, stub: GRPCInferenceServiceStub) -> None:
    rows = test_rows("digits")[:1]
    wrong_shape = question("digits", rows[:, :10])
    wrong_type = question("digits", rows)
    wrong_type.inputs[0].datatype = "FP64"
    wrong_type.raw_input_contents[0] = rows.astype(np.float64).tobytes()
    malformed = question("digits", rows)
    malformed.raw_input_contents[0] = malformed.raw_input_contents[0][:-1]
    nan = question("digits", np.full_like(rows, np.nan))
    unknown = question("no-such-model", rows)
    for name, request, expected in (
        ("a wrong shape", wrong_shape, Reason.TENSOR_SHAPE),
        ("a truncated tensor", malformed, Reason.TENSOR_BYTES),
        ("a wrong data type", wrong_type, Reason.TENSOR_DATATYPE),
        ("NaN", nan, Reason.TENSOR_NOT_FINITE),
        ("an unknown model", unknown, Reason.MODEL_UNKNOWN),
    ):
        _expect(stage, name, reason_for(stub, request), expected)
    wrong = stage.state / "wrong.jwt"
    wrong.write_text(mint_token(new_issuer_key(), "client", datetime.now(UTC), timedelta(hours=1)))
    with connect(replace(stage.profile("client"), token=wrong)) as channel:
        reason = reason_for(GRPCInferenceServiceStub(channel), question("digits", rows))
    _expect(stage, "a wrong token", reason, Reason.TOKEN_SIGNATURE)
    with connect(stage.profile("auditor")) as channel:
        reason = reason_for(GRPCInferenceServiceStub(channel), question("digits", rows))
    _expect(stage, "a wrong role", reason, Reason.ROLE_TOO_LOW)


def _expect(stage: Stage, name: str, reason: Reason | None, expected: Reason) -> None:
    stage.check(name, reason is expected, f"refused, {reason.name if reason else 'not at all'}")


def _flip_byte(artifacts: Path, digest: str) -> None:
    name = digest.removeprefix("sha256:")
    (path,) = (p for p in artifacts.rglob("*") if p.is_file() and name.endswith(p.name))
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
