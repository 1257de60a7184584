"""`make bench NAME=dayone`: what auditors, admins and operators wait for on day one and day 366.

- find: a decision by caller and day, among a million entries, through the gateway.
- backup: all databases and model files copied, and put back.
- rotation: the key of each log and of freshness replaced under load.
- renewal: the commands that each role needs at day 366.
- receipts: how the libraries for Go, Java and JavaScript judge receipts, good and altered.

Prints a table; writes results/dayone.json. `--only` measures a part; the other rows stay as they
were measured before.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
from safetensors.numpy import load_file

from benchmarks import governed
from benchmarks.dayone.receipt_libraries import measure
from benchmarks.history import BEGAN, CALLERS, DAYS, fill
from benchmarks.report import Row, Target, earlier, finish, show
from demo.materials import DATA
from demo.questions import Load
from demo.stage import Stage, free_ports
from gateway.app import build
from gateway.config.document import GatewayConfig
from sealgate.audit import Auditor
from sealgate.audit.reader import AuditReader
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect
from sealgate.setup.installation import Installation, Ports
from sealgate.signed_version import policy_history
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_FIND_MS, _BACKUP_SECONDS, _COMMANDS = 200.0, 120.0, 2.0
_PAGE = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--only", choices=sorted(_PARTS), action="append")
    options = parser.parse_args()
    rows = earlier("dayone")
    for part in options.only or _PARTS:
        with TemporaryDirectory() as folder:
            made = [{"part": part, **row} for row in _PARTS[part](Path(folder), options)]
        rows = [row for row in rows if row["part"] != part] + made
        show(rows, ("part", "what", "value", "unit", "entries", "load"))
        finish("dayone", rows, [_target(row) for row in rows if row.get("target") is not None])


def _target(row: Row) -> Target:
    target = Target(f"{row['part']}: {row['what']}", row["value"], row["target"])
    why = f"measured with {row['load']:.0f} processes waiting for {os.cpu_count()} cores"
    return target.unless_met({target.name: why})


def _row(what: str, value: float, unit: str, target: float | None = None, **more: Any) -> Row:
    shown = {"what": what, "value": value, "unit": unit, "target": target}
    return shown | {"load": os.getloadavg()[0]} | more


@contextmanager
def _installed(state: Path, entries: int = 0) -> Iterator[Stage]:
    """A running gateway with a governed model, over so many decisions of last month."""
    stage = Stage(state)
    stage.command(
        "init",
        "--unencrypted-keys",
        *("--port", str(free_ports()), "--console-port", str(free_ports())),
    )
    with governed.started(stage):
        governed.promote(stage)
        if entries:
            stage.stop_gateway()
            fill(state, entries)
            stage.start_gateway()
        yield stage


def _long(folder: Path, options: argparse.Namespace) -> list[Row]:
    with _installed(folder / "state", options.entries) as stage:
        found = _find(stage, options)
        return [*found, *_backup(stage, folder, options)]


def _find(stage: Stage, options: argparse.Namespace) -> list[Row]:
    taken: dict[str, list[float]] = {"caller and day": [], "request id": []}
    some = np.random.default_rng(0)
    person = stage.profile("auditor")
    with connect(person) as channel:
        registry = RegistryServiceStub(channel)
        policies = policy_history(registry, person.pinned_roots(), person.root_threshold)
        reader = AuditReader(channel, policies[-1], lambda: datetime.now(UTC))
        origins = Auditor(channel, policies[-1]).origins()
        (origin,) = (each for each in origins if policies[-1].is_answer_log(each))
        for _ in range(options.times):
            day = (BEGAN + timedelta(days=int(some.integers(0, DAYS)))).date().isoformat()
            number = int(some.integers(0, options.entries))
            for what, where in (
                ("caller and day", {"principal": f"caller-{number % CALLERS}", "day": day}),
                ("request id", {"request_id": f"request-{number}"}),
            ):
                began = time.perf_counter()
                size = reader.size(origin)
                entries = list(islice(reader.openings(origin, 0, size, where=where), _PAGE))
                taken[what].append(1e3 * (time.perf_counter() - began))
                if not entries or any(entry.fields is None for entry in entries):
                    raise SystemExit(f"nothing was found by {where}")
    return [
        _row(f"by {what}, p95", float(np.percentile(each, 95)), "ms", _FIND_MS, **_size(options))
        for what, each in taken.items()
    ]


def _size(options: argparse.Namespace) -> Row:
    return {"entries": options.entries}


def _backup(stage: Stage, folder: Path, options: argparse.Namespace) -> list[Row]:
    began = time.perf_counter()
    stage.command("backup", str(folder / "backup"), "--json")
    copied = time.perf_counter() - began
    stage.stop_gateway()
    shutil.rmtree(stage.state / "artifacts")
    # The gateway anchored its log as it stopped. It would remember that, and refuse what is older.
    for path in (*stage.state.glob("*.db*"), *stage.state.glob("seen*")):
        path.unlink()
    began = time.perf_counter()
    stage.command("restore", str(folder / "backup"), "--json")
    restored = time.perf_counter() - began
    return [
        _row("backup, beside a gateway at work", copied, "s", **_size(options)),
        _row("restore", restored, "s", **_size(options)),
        _row("backup and restore", copied + restored, "s", _BACKUP_SECONDS, **_size(options)),
    ]


def _rotation(folder: Path, options: argparse.Namespace) -> list[Row]:
    rows = load_file(DATA / "digits.safetensors")["x_test"].astype(np.float32)
    found = []
    with (
        _installed(folder / "state") as stage,
        connect(stage.profile("client")) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        # Until the engine has loaded what was promoted a moment ago, refusals are no loss.
        with Load(stub, "digits", rows) as load:
            load.wait_for("1")
        for version, what in enumerate(("answers", "registry", "freshness"), 2):
            with Load(stub, "digits", rows) as load:
                load.wait_for("1")
                _rotate(stage, folder, what, version)
                before = sum(load.versions.values())
                while sum(load.versions.values()) < before + 50 and not load.failures:
                    time.sleep(0.05)
            lost, answers = sum(load.failures.values()), sum(load.versions.values())
            counts = {"answers": answers, "failures": json.dumps(load.failures)}
            found.append(_row(f"answers lost, {what}", lost, "answers", 0.0, **counts))
        logs = stage.command("audit", "verify", "--wait", "90", "--json", person="auditor")
        broken = sum(log["found"] != "intact" for log in logs)
        found.append(_row("logs that do not verify afterwards", broken, "logs", 0.0))
    return found


def _rotate(stage: Stage, folder: Path, what: str, version: int) -> None:
    """As people do it: a draft, a signature by each of two roots, an acceptance."""
    draft, signed = Path(f"policy-{version}.json"), Path(f"policy-{version}.signed.json")
    try:
        stage.command("key", "rotate", what)
        stage.command("policy", "fetch")
        for file, number in ((draft, 1), (signed, 2)):
            key = str(stage.state / "roots" / f"root-{number}.key")
            stage.command("policy", "sign", str(file), "--yes", "--key", key)
        stage.command("policy", "accept", str(signed))
    finally:
        draft.unlink(missing_ok=True)
        signed.unlink(missing_ok=True)


def _renewal(folder: Path, options: argparse.Namespace) -> list[Row]:
    """Each role's commands, carried out on an installation whose every end has passed."""
    used: dict[str, list[str]] = {}
    roots = folder / "roots"
    state = folder / "state"
    port = free_ports()
    year = datetime.now(UTC) - timedelta(days=366)
    Installation(state, "sealgate", year, Ports(port, port + 1), passphrase=None).make()
    # It served on its first day.
    with patch("gateway.app.now", lambda: year):
        gateway = build(GatewayConfig.read(state / "gateway.toml"))
        gateway.start()
        gateway.stop()
    shutil.move(state / "roots", roots)
    stage = Stage(state)
    # In this process: whoever waits for it by TLS would wait until it is renewed.
    gateway = build(GatewayConfig.read(state / "gateway.toml"))
    gateway.start()
    draft, signed = Path("policy-2.json"), Path("policy-2.signed.json")

    def run(role: str, *words: str) -> None:
        stage.command(*words)
        used.setdefault(role, []).append(" ".join(words[:2]))

    try:
        run("operator", "renew")
        for number, file in ((1, draft), (2, signed)):
            key = str(roots / f"root-{number}.key")
            run(f"root holder {number}", "policy", "sign", str(file), "--yes", "--key", key)
        run("operator", "policy", "accept", str(signed))
        stage.command("audit", "verify", "--wait", "60", "--json", person="auditor")
    finally:
        gateway.stop()
        draft.unlink(missing_ok=True)
        signed.unlink(missing_ok=True)
    return [
        _row(f"commands, {role}", len(words), "commands", _COMMANDS, commands=json.dumps(words))
        for role, words in used.items()
    ]


def _receipts(folder: Path, options: argparse.Namespace) -> list[Row]:
    return [_row(**row) for row in measure(folder)]


_PARTS: dict[str, Callable[[Path, argparse.Namespace], list[Row]]] = {
    "record": _long,
    "rotation": _rotation,
    "renewal": _renewal,
    "receipts": _receipts,
}

if __name__ == "__main__":
    main()
