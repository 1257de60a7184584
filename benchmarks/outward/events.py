"""Events to a webhook, with a real gateway and the events process as a process of its own.

1. Undisturbed: how long it takes from a change to its webhook. The clock starts before the change
   is sent, so the figure is that from commit to delivery, and the way to the gateway on top.
2. Killed: in each round the process starts, a share of the changes is made, and it is killed
   (SIGKILL) at a random moment after the first of the round has come. At the end nothing may be
   missing, and each model's events must have come in order, apart from those that came again.

Every webhook's signature is verified by `standardwebhooks`.
"""

import random
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from standardwebhooks import Webhook

from benchmarks import governed
from benchmarks.report import Row, Target
from demo.stage import Stage, free_ports
from sealgate.events.webhooks import new_secret
from sealgate.remote import connect
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import write_private_file
from sealgate.v1.registry_pb2 import CommitWatermarkRequest, CreateModelRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.harness.deployment import until
from tests.support.harness.servers.webhooks import Received, WebhookReceiver

_DELIVERED, _KILLS = "events delivered across the kills", "kills of the events process"
_MODELS = 20
_LONGEST_SECONDS = 0.5
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Size:
    """How many events are delivered undisturbed, and how many across how many kills."""

    undisturbed: int
    events: int
    kills: int


WHOLE, QUICK = Size(2_000, 10_000, 100), Size(200, 1_000, 10)


class ModelChanges:
    """Makes changes of twenty models in turn; `made` has when each entry was asked for."""

    def __init__(self, stage: Stage, run: str) -> None:
        self._channel = connect(stage.profile("publisher"))
        self._registry = RegistryServiceStub(self._channel)
        self._models = [f"{run}-{number}" for number in range(_MODELS)]
        self.made: dict[int, float] = {}
        for model in self._models:
            self._registry.CreateModel(CreateModelRequest(model=model), timeout=60)

    def make(self, number: int) -> None:
        for _ in range(number):
            request = CommitWatermarkRequest(
                model=self._models[len(self.made) % _MODELS],
                commitment=sha256(secrets.token_bytes(16)),
            )
            began = time.time()
            self.made[self._registry.CommitWatermark(request, timeout=60).entry] = began

    def close(self) -> None:
        self._channel.close()


class Hook:
    """The receiver: entry, model and time of each webhook, in the order in which they came."""

    def __init__(self, secret: str) -> None:
        self.receiver = WebhookReceiver()
        self.receiver.answer = self._take
        self._webhook = Webhook(secret)
        self._mutex = threading.Lock()
        self.came: list[tuple[int, str, float]] = []
        self._seen: set[int] = set()

    def _take(self, received: Received) -> int:
        """Raises WebhookVerificationError, which the events process sees as a failure."""
        data = self._webhook.verify(received.body, received.headers)["data"]
        with self._mutex:
            self.came.append((data["index"], data["model"], received.at))
            self._seen.add(data["index"])
        return 204

    def has_more_than(self, known: int) -> Callable[[], bool]:
        """Says whether more came than that."""
        return lambda: len(self.came) > known

    def has(self, entries: Collection[int]) -> bool:
        """Whether all came."""
        with self._mutex:
            return self._seen.issuperset(entries)


def measure(size: Size) -> list[Row]:
    with TemporaryDirectory() as folder:
        stage = Stage(Path(folder) / "state")
        stage.console.quiet = True
        stage.command("init", "--unencrypted-keys", "--port", str(free_ports()))
        with governed.started(stage):
            return [_undisturbed(stage, size), _killed(stage, size)]


def targets(rows: list[Row]) -> list[Target]:
    calm, killed = rows
    fewer = {
        name: "a reduced run (--quick)"
        for name in (_DELIVERED, _KILLS)
        if killed["events"] < WHOLE.events
    }
    whole = [
        Target(_DELIVERED, killed["events"] - killed["lost"], WHOLE.events, least=True),
        Target(_KILLS, killed["kills"], WHOLE.kills, least=True),
    ]
    return [
        *(target.unless_met(fewer) for target in whole),
        Target("events that did not come", calm["lost"] + killed["lost"], 0),
        Target("events out of their model's order", calm["disorder"] + killed["disorder"], 0),
        Target("ms from commit to delivery, p95, undisturbed", calm["p95_ms"], 200),
    ]


def _undisturbed(stage: Stage, size: Size) -> Row:
    with _destination(stage, "calm") as (hook, configuration):
        changes = ModelChanges(stage, "calm")
        process = _start(configuration)
        # The process has started once its first event came.
        changes.make(1)
        until(lambda: hook.has(changes.made), _PATIENCE)
        changes.made.clear()
        began = time.monotonic()
        changes.make(size.undisturbed)
        until(lambda: hook.has(changes.made), _PATIENCE)
        seconds = time.monotonic() - began
        _stop(process)
        changes.close()
        return _row("undisturbed", changes.made, hook, seconds, 0)


def _killed(stage: Stage, size: Size) -> Row:
    with _destination(stage, "killed") as (hook, configuration):
        changes = ModelChanges(stage, "killed")
        began = time.monotonic()
        for _ in range(size.kills):
            before = len(hook.came)
            process = _start(configuration)
            share = size.events // size.kills
            making = threading.Thread(target=changes.make, args=(share,))
            making.start()
            until(hook.has_more_than(before), _PATIENCE)
            time.sleep(random.random() * _LONGEST_SECONDS)  # noqa: S311 (a moment like any other)
            process.kill()
            process.wait()
            making.join()
        process = _start(configuration)
        until(lambda: hook.has(changes.made), _PATIENCE)
        seconds = time.monotonic() - began
        _stop(process)
        changes.close()
        return _row("killed", changes.made, hook, seconds, size.kills)


def _row(name: str, made: dict[int, float], hook: Hook, seconds: float, kills: int) -> Row:
    firsts: dict[int, float] = {}
    newest: dict[str, int] = {}
    doubles = disorder = 0
    for index, model, at in hook.came:
        if index not in made:
            continue
        if index in firsts:
            doubles += 1
            continue
        firsts[index] = at
        disorder += index < newest.get(model, -1)
        newest[model] = index
    waits = [1000 * (firsts[index] - made[index]) for index in firsts]
    cuts = quantiles(waits, n=100)
    return {
        "run": name,
        "kills": kills,
        "events": len(made),
        "lost": len(made.keys() - firsts.keys()),
        "came_again": doubles,
        "disorder": disorder,
        "p50_ms": cuts[49],
        "p95_ms": cuts[94],
        "p99_ms": cuts[98],
        "per_second": len(made) / seconds,
    }


@contextmanager
def _destination(stage: Stage, name: str) -> Iterator[tuple[Hook, Path]]:
    """A receiver, and the configuration of an events process that knows it alone."""
    secret = new_secret()
    write_private_file(stage.state / f"{name}.secret", secret.encode())
    hook = Hook(secret)
    configuration = stage.state / f"{name}.toml"
    configuration.write_text(f"""
[gateway]
profile = "people/events/profile.toml"
from_beginning = true
[state]
database = "{name}.sqlite"
[network]
hosts = ["127.0.0.1"]
[log]
level = "error"
[[destinations]]
name = "hook"
url = "{hook.receiver.url}"
secrets = ["{name}.secret"]
loopback = true
kinds = ["watermark.committed"]
""")
    try:
        yield hook, configuration
    finally:
        hook.receiver.close()


def _start(configuration: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sealgate.cli.main", "events", "serve"]
    return subprocess.Popen([*command, "--config", str(configuration)], stdout=subprocess.DEVNULL)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    if process.wait(60):
        raise SystemExit("the events process ended with an error")
