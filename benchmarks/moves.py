"""`make bench NAME=moves`: how soon rollback and revocation reach every gateway, under load.

Two gateways, each a process of its own as `sealgate serve` starts it, share a registry, on SQLite
and on PostgreSQL. One is told; time runs from its answer until the other answers as it must. Every
request is looked at: none may be lost. The callers are this process, on the same machine. Prints a
table; writes results/moves.json.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.report import Target, finish, show
from demo.materials import DATA, MODELS
from demo.stage import Stage, free_ports
from sealgate.promotion.documents import Governance
from sealgate.reasons import Reason
from sealgate.remote import Profile, connect
from sealgate.setup.installation import Installation, Ports
from tests.support.harness.alias_callers import Asked, Load, reach
from tests.support.harness.gateway import rows
from tests.support.harness.processes.second_gateway import SecondGateway
from tests.support.harness.servers.postgres import PostgresServer

_SETTLE = 0.5
_TARGET_MS = 100.0
_WHY = "gateways, database and callers share two cores; a first answer has its own time in it"
_ROLES = ("told", "other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollbacks", type=int, default=20)
    parser.add_argument("--revocations", type=int, default=5)
    parser.add_argument("--callers", type=int, default=4, help="of each alias on each gateway")
    parser.add_argument("--every", type=float, default=0.02, help="seconds between their requests")
    options = parser.parse_args()
    table: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        table += _measured("SQLite", Path(folder) / "sqlite", "sqlite:///registry.db", options)
        server = PostgresServer(fsync="on")
        try:
            url = server.schema_url("moves")
            table += _measured("PostgreSQL", Path(folder) / "postgres", url, options)
        finally:
            server.close()
    show(table, title="ms after the move's own answer")
    targets = [
        Target(
            f"{row['move']} on {row['database']}, {what} at the other gateway, ms",
            value,
            limit,
            why=_WHY,
        )
        for row in table
        if row["gateway"] == "other"
        for what, value, limit in (
            ("slowest first new answer", row["first_new_max_ms"], _TARGET_MS),
            ("latest request answered as before", row["last_old_max_ms"], _TARGET_MS),
        )
    ]
    targets += [
        Target(f"requests lost in {row['move']}s on {row['database']}", row["lost"], 0.0)
        for row in table
        if row["gateway"] == "other"
    ]
    shared = {"callers": options.callers, "every_s": options.every, "nice": os.nice(0)}
    finish("moves", table, targets, **shared)


def _measured(
    database: str, state: Path, url: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    with _gateways(state, url, options.revocations) as (stage, second):
        profiles = [stage.profile("client"), Profile.read(second.profile("client"))]
        load = (options.callers, options.every)
        with connect(stage.profile("admin")) as channel:
            admin = Governance(channel, stage.profile("admin"), lambda: datetime.now(UTC))
            # The callers are this very process, which making a connection would hold up.
            admin.policy()
            found = [
                _rollbacks(admin, profiles, options.rollbacks, *load),
                _revocations(stage, admin, profiles, options.revocations, *load),
            ]
    return [{"database": database, **row} for rows_ in found for row in rows_]


@contextmanager
def _gateways(state: Path, url: str, spare: int) -> Iterator[tuple[Stage, SecondGateway]]:
    """Two gateways; digits 2 is in production after 1, and `spare` more versions are registered."""
    stage = Stage(state)
    port = free_ports()
    ports = Ports(port, port + 1)
    Installation(state, "house", datetime.now(UTC), ports, passphrase=None).make()
    configuration = state / "gateway.toml"
    text = configuration.read_text()
    configuration.write_text(text.replace('"sqlite:///registry.db"', f'"{url}"'))
    second = SecondGateway(stage)
    second.name_in_first_policy()
    stage.start_gateway()
    try:
        for version in range(1, 3 + spare):
            folder = MODELS / ("digits-standard" if version == 1 else "digits-hardened")
            data = str(DATA / "digits.safetensors")
            stage.command(
                *("model", "publish", str(folder), "--data", data, "--json"), person="publisher"
            )
            if version < 3:
                _promote(stage, version, "production")
        second.start()
        yield stage, second
    finally:
        second.kill()
        stage.stop_gateway()


def _promote(stage: Stage, version: int, alias: str) -> None:
    words = ("model", "propose", "digits", str(version), "--alias", alias, "--json")
    proposal = stage.command(*words, person="publisher")["proposal"]
    for person in ("approver-1", "approver-2"):
        stage.command("model", "approve", proposal, "--meaning", "reviewed", person=person)
    stage.command("model", "promote", proposal, "--reason", "measured", person="admin")


def _rollbacks(
    admin: Governance, profiles: list[Profile], times: int, callers: int, every: float
) -> list[dict[str, Any]]:
    """Production goes back and forth between the two versions that it has named."""
    moves = []
    with Load(profiles, rows(count=20), ("",), callers, every) as load:
        for gateway in range(2):
            load.await_answer(gateway, _answers(2))
        for at in range(times):
            version = 1 + at % 2

            def move(version: int = version) -> None:
                admin.rollback("digits", "production", version, "measured")

            moves.append(_move(load, move, _answers(version)))
    lost = [item for item in load.asked if item.version not in (1, 2)]
    return _rows("rollback", load.asked, moves, len(lost))


def _revocations(
    stage: Stage,
    admin: Governance,
    profiles: list[Profile],
    times: int,
    callers: int,
    every: float,
) -> list[dict[str, Any]]:
    """Callers of production go on; those of canary, whose version is revoked, are told so."""
    moves, asked, lost = [], [], 0
    for version in range(3, 3 + times):
        _promote(stage, version, "canary")
        with Load(profiles, rows(count=20), ("", "canary"), callers, every) as load:
            for gateway in range(2):
                load.await_answer(gateway, _answers(version))
            settled = time.monotonic()

            def move(version: int = version) -> None:
                admin.revoke("digits", version, "measured")

            moves.append(_move(load, move, lambda item: item.reason is Reason.VERSION_REVOKED))
        began = moves[-1][0]
        lost += sum(
            item.version is None
            and not (
                item.alias and item.reason is Reason.VERSION_REVOKED and item.received >= began
            )
            for item in load.asked
            if item.sent >= settled
        )
        asked += load.asked
    canary = [item for item in asked if item.alias]
    return _rows("revocation", canary, moves, lost, len(asked))


def _answers(version: int) -> Callable[[Asked], bool]:
    return lambda item: item.version == version


_Move = tuple[float, float, float, Callable[[Asked], bool]]


def _move(load: Load, move: Callable[[], None], is_new: Callable[[Asked], bool]) -> _Move:
    """When it was called and answered, when all had settled, and what is new since."""
    began = time.monotonic()
    move()
    moved = time.monotonic()
    for gateway in range(2):
        load.await_answer(gateway, lambda item: item.sent >= moved and is_new(item))
    time.sleep(_SETTLE)
    return began, moved, time.monotonic(), is_new


def _rows(
    name: str, asked: list[Asked], moves: list[_Move], lost: int, requests: int | None = None
) -> list[dict[str, Any]]:
    table = []
    for gateway, role in enumerate(_ROLES):
        reached = []
        for began, moved, settled, is_new in moves:
            during = [
                item for item in asked if item.gateway == gateway and began <= item.sent <= settled
            ]
            reached.append(reach(during, began, moved, is_new))
        first = sorted(item.first_new for item in reached)
        table.append(
            {
                "move": name,
                "gateway": role,
                "moves": len(reached),
                "first_new_p50_ms": first[len(first) // 2],
                "first_new_max_ms": first[-1],
                "last_old_max_ms": max(item.last_old for item in reached),
                "requests": len(asked) if requests is None else requests,
                "lost": lost,
            }
        )
    return table


if __name__ == "__main__":
    main()
