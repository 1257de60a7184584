"""Kills a gateway under load hundreds of times, and checks the record after each kill.

It does so on SQLite and on PostgreSQL, with the native transport and with grpcio.

`python -m benchmarks.crash [--kills 125]`: so many SIGKILLs of each combination, each at a random
moment of a load of eight callers and an admin who creates models. Then the gateway starts
again, which compares every row of the registry's state with every entry of its log, and

1. each answer that a caller has got is in the answer log, at the place that its receipt names;
2. each change that was confirmed is there;
3. both logs only grew since the checkpoints that were seen before;
4. at the end, every entry of every log is hashed again.

It ends with an error where one of these does not hold.
"""

import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import grpc

from benchmarks import governed
from benchmarks.report import Target, finish, show
from demo.materials import test_rows
from demo.questions import question
from demo.stage import Stage, free_ports
from sealgate.audit import Auditor
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect
from sealgate.signed_version import policy_history
from sealgate.trust.receipts import Receipt
from sealgate.trust.receipts.answer_entry import HEADER
from sealgate.trust.transparency import Checkpoint
from sealgate.v1.registry_pb2 import CreateModelRequest, ListModelsRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_CALLERS = 8
_LONGEST_SECONDS = 0.6


class LoadUntilKilled:
    """Callers who ask, and an admin's changes, until the gateway is gone. The answers that came are
    kept.

    A receipt's leaf is its header and its commitments.
    """

    def __init__(self, stage: Stage, number: int) -> None:
        self.leaves: dict[int, bytes] = {}
        self.models: list[str] = []
        self._stage = stage
        self._number = number
        self._stopping = threading.Event()
        work = [self._ask] * _CALLERS + [self._change]
        self._threads = [threading.Thread(target=each) for each in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        request = question("digits", test_rows("digits")[:1], receipt=True)
        with connect(self._stage.profile("client")) as channel, suppress(grpc.RpcError):
            stub = GRPCInferenceServiceStub(channel)
            while not self._stopping.is_set():
                answer = stub.ModelInfer(request, timeout=10)
                receipt = Receipt.decode(answer.parameters["receipt"].string_param.encode())
                self.leaves[receipt.proof.index] = HEADER + b"".join(receipt.commitments)

    def _change(self) -> None:
        with connect(self._stage.profile("publisher")) as channel, suppress(grpc.RpcError):
            stub = RegistryServiceStub(channel)
            while not self._stopping.is_set():
                model = f"m{self._number}-{len(self.models)}"
                stub.CreateModel(CreateModelRequest(model=model), timeout=10)
                self.models.append(model)


class Examiner:
    """Looks at what is there after a restart; `seen` is what the logs had come to before."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.seen: dict[str, Checkpoint] = {}

    def look(self, load: LoadUntilKilled) -> None:
        """Steps 1 to 3. Raises SealgateError and AssertionError."""
        profile = self._stage.profile("auditor")
        with connect(profile) as channel:
            stub = RegistryServiceStub(channel)
            policy = policy_history(stub, profile.pinned_roots(), profile.root_threshold)[-1]
            auditor = Auditor(channel, policy)
            # 1.
            answers = next(o for o in auditor.origins() if policy.is_answer_log(o))
            first, last = min(load.leaves, default=0), max(load.leaves, default=-1)
            found = [x for part in auditor.entries(answers, last + 1, first) for x in part]
            for index, leaf in load.leaves.items():
                _check(found[index - first] == leaf, f"the answer of entry {index} is missing")
            # 2.
            for model in load.models:
                asked = ListModelsRequest(filter=f"name = models/{model}")
                _check(len(stub.ListModels(asked).models) == 1, f"{model} is missing")
            # 3.
            for origin in auditor.origins():
                old = self.seen.get(origin)
                newest = auditor.checkpoint(origin)
                if old is not None:
                    newest = auditor.verify_consistency(origin, old)
                self.seen[origin] = newest


def _check(holds: bool, failure: str) -> None:
    if not holds:
        raise AssertionError(failure)


@contextmanager
def _installation(kind: str, transport: str, folder: Path) -> Iterator[Stage]:
    """A gateway with digits in production, with databases of one kind and a transport."""
    stage = Stage(folder / "state")
    stage.console.quiet = True
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()))
    path = stage.state / "gateway.toml"
    text, listen = path.read_text(), "[listen]\n"
    _check(listen in text, "the configuration has no section [listen]")
    path.write_text(text.replace(listen, f'{listen}transport = "{transport}"\n'))
    with _databases(kind, stage), governed.started(stage):
        governed.promote(stage)
        time.sleep(1)
        yield stage


@contextmanager
def _databases(kind: str, stage: Stage) -> Iterator[None]:
    if kind == "SQLite":
        yield
        return
    from tests.support.harness.servers.postgres import PostgresServer

    server = PostgresServer()
    path = stage.state / "gateway.toml"
    text = path.read_text()
    for name in ("registry", "answers", "subjects"):
        text = text.replace(f'"sqlite:///{name}.db"', f'"{server.schema_url(name)}"')
        text = text.replace(f'"{name}.db"', f'"{server.schema_url(name)}"')
    path.write_text(text)
    try:
        yield
    finally:
        server.close()


def kill(stage: Stage) -> None:
    """SIGKILL, and wait until it is gone."""
    os.kill(stage.gateway_pid, signal.SIGKILL)
    _check(stage.stop_gateway() == -signal.SIGKILL, "the gateway had ended by itself")


def measure(
    kind: str, transport: str, kills: int, chance: random.Random, folder: Path
) -> dict[str, Any]:
    """Kill so many times; return what was there. Raises where something does not hold."""
    answered = changed = 0
    began = time.monotonic()
    with _installation(kind, transport, folder) as stage:
        examiner = Examiner(stage)
        for number in range(kills):
            load = LoadUntilKilled(stage, number)
            time.sleep(chance.random() * _LONGEST_SECONDS)
            kill(stage)
            load.stop()
            stage.start_gateway()
            examiner.look(load)
            answered, changed = answered + len(load.leaves), changed + len(load.models)
            if sys.stderr.isatty() or (number + 1) % 10 == 0:
                print(
                    f"{kind}, {transport}: {number + 1} kills, {answered} answers, "
                    f"{changed} changes"
                )
        # 4.
        logs = stage.command("audit", "verify", "--wait", "60", "--json", person="auditor")
    return {
        "database": kind,
        "transport": transport,
        "kills": kills,
        "answers_kept": answered,
        "changes_kept": changed,
        "entries": {log["log"]: log["entries"] for log in logs},
        "seconds": round(time.monotonic() - began),
    }


@click.command()
@click.option("--kills", type=click.IntRange(1), default=125, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--database", "kinds", multiple=True, default=("SQLite", "PostgreSQL"))
@click.option("--transport", "transports", multiple=True, default=("native", "grpcio"))
def main(kills: int, seed: int, kinds: tuple[str, ...], transports: tuple[str, ...]) -> None:
    """Kill a gateway under load, start it again, and look whether anything is missing."""
    chance = random.Random(seed)  # noqa: S311
    rows = []
    for kind, transport in itertools.product(kinds, transports):
        with TemporaryDirectory() as folder:
            rows.append(measure(kind, transport, kills, chance, Path(folder)))
        show(rows)
    finish("crash", rows, _targets(rows))


def _targets(rows: list[dict[str, Any]]) -> list[Target]:
    """A missing answer would have ended the run with an error."""
    names = dict.fromkeys(row["transport"] for row in rows)
    kills = {name: sum(row["kills"] for row in rows if row["transport"] == name) for name in names}
    found = [Target(f"kills with {name}", count, 250, least=True) for name, count in kills.items()]
    return [*found, Target("answers and changes that were missing", 0, 0)]


if __name__ == "__main__":
    main()
