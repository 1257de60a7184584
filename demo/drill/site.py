"""The drill's installation: a gateway, an engine in a process of its own, and who watches them."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from demo.drill.alarms import (
    HEALTH_SECONDS,
    SCRAPE_SECONDS,
    AlarmSource,
    AlertRules,
    Repeated,
    WebhookAlarms,
    health_check,
    read_metrics,
)
from demo.drill.disk import LogDisk, small_disk
from demo.drill.supervisor import Supervisor, restart_seconds
from demo.drill.traffic import MODEL, DrillTraffic
from demo.materials import DATA, MODELS
from demo.policy import change_policy
from demo.stage import SEALGATE, Stage, StepFailed, free_ports

CANARY, PRODUCTION = "canary", "production"
LIMITS: dict[str, Any] = {
    "risk": {"models": {MODEL: "low"}, "approvals": {"low": {PRODUCTION: 2}}},
    "unscreened": {"tiers": ["low"]},
    "health": {
        MODEL: {CANARY: {"window_seconds": 30, "minimum_requests": 30, "p99_ms": 10}},
    },
    "outcomes": {
        MODEL: {
            "aliases": {
                PRODUCTION: {
                    "window_seconds": 600,
                    "minimum_outcomes": 30,
                    "accuracy_percent": 85,
                    "action": "alarm",
                }
            }
        }
    },
}
"""The drill's policy adds how late canary may answer, how wrong production may be, and that a
version of digits may be published without screening.
"""
_SERVICE = "rollback-service"
_APPROVERS = ("approver-1", "approver-2")
_ANSWER_SECONDS = 60.0


@dataclass(slots=True)
class DrillSite:
    """A running installation with a good version of digits in production, asked all the time."""

    stage: Stage
    engine: Supervisor
    disk: LogDisk
    traffic: DrillTraffic
    webhooks: WebhookAlarms
    alarms: tuple[AlarmSource, ...]
    metrics_port: int
    good: int = 1
    """The version that should be in production."""

    def publish(self, source: Path, data: Path, *options: str) -> int:
        """Publish a version of digits; returns its number."""
        words = ("model", "publish", str(source), "--data", str(data), *options, "--json")
        return int(self.stage.command(*words, person="publisher")["version"])

    def approved(self, version: int, *options: str, meaning: str = "reviewed") -> str:
        """Propose a version and have two people approve it; returns the proposal's digest."""
        return approved(self.stage, version, *options, meaning=meaning)

    def promote(self, proposal: str, reason: str) -> None:
        self.stage.command("model", "promote", proposal, "--reason", reason, person="admin")


def approved(stage: Stage, version: int, *options: str, meaning: str = "reviewed") -> str:
    """Propose a version of digits and have two people approve it; returns the proposal's digest."""
    words = ("model", "propose", MODEL, str(version), *options, "--json")
    proposal = str(stage.command(*words, person="publisher")["proposal"])
    for approver in _APPROVERS:
        stage.command("model", "approve", proposal, "--meaning", meaning, person=approver)
    return proposal


@contextmanager
def site(stage: Stage) -> Iterator[DrillSite]:
    """Make the installation in the stage's folder, and stop all of it at the end."""
    metrics_port = free_ports()
    with ExitStack() as stack:
        _initialise(stage, metrics_port)
        folder = stage.state / "disk"
        disk = stack.enter_context(small_disk(folder, lambda: stage.gateway_pid))
        engine = _started(stage, stack, "engine", restart_seconds())
        stack.callback(stage.stop_gateway)
        stage.start_gateway()
        _set_limits(stage)
        webhooks = _follow_events(stage, stack)
        _first_version(stage)
        rows = load_file(DATA / f"{MODEL}.safetensors")
        profile = stage.profile("client")
        traffic = stack.enter_context(DrillTraffic(profile, rows["x_test"], rows["y_test"]))
        alarms: tuple[AlarmSource, ...]
        alarms = (webhooks, *_watched(stage, stack, metrics_port))
        made = DrillSite(stage, engine, disk, traffic, webhooks, alarms, metrics_port)
        if not traffic.wait(lambda a: a.answered, time.monotonic(), 20, _ANSWER_SECONDS):
            raise StepFailed("callers get no answers")
        yield made


def _initialise(stage: Stage, metrics_port: int) -> None:
    ports = ("--port", str(free_ports()), "--console-port", str(free_ports()))
    stage.command("init", "--unencrypted-keys", "--separate-engine", "--name", "drill", *ports)
    settings = stage.state / "gateway.toml"
    text = settings.read_text().replace('"answers.db"', '"disk/answers.db"')
    # The first entries of an incident are anchored soon, so that an auditor need not wait for it.
    more = f"""
[metrics]
listen = "127.0.0.1:{metrics_port}"

[limits]
anchor_every = 2.0
"""
    settings.write_text(text + more)


def _set_limits(stage: Stage) -> None:
    """Have two roots sign a policy with LIMITS and a service that may roll back, and start the
    gateway again with that service's key.
    """
    file = str(stage.state / "keys" / "rollback.key")
    key = stage.command("key", "new", "--unencrypted", file, "--json")

    def change(document: dict[str, Any]) -> None:
        document["keys"][key["id"]] = key["public_key"]
        document["principals"].append(
            {"name": _SERVICE, "roles": ["rollback"], "keys": [key["id"]], "identities": []}
        )
        document.update(LIMITS)

    change_policy(stage, change)
    stage.stop_gateway()
    with (stage.state / "gateway.toml").open("a") as settings:
        settings.write('\n[rollback]\nkey = "keys/rollback.key"\n')
    stage.start_gateway()


def _follow_events(stage: Stage, stack: ExitStack) -> WebhookAlarms:
    secret = stage.state / "drill.key"
    stage.command("events", "secret", str(secret))
    webhooks = WebhookAlarms()
    stack.callback(webhooks.stop)
    webhooks.start(secret.read_text())
    (stage.state / "events.toml").write_text(f"""\
[gateway]
profile = "people/events/profile.toml"
from_beginning = true

[state]
database = "events.sqlite"

[network]
hosts = ["127.0.0.1"]

[[destinations]]
name = "drill"
url = "http://127.0.0.1:{webhooks.port}/"
loopback = true
secrets = ["drill.key"]
""")
    _started(stage, stack, "events", restart_seconds())
    return webhooks


def _first_version(stage: Stage) -> None:
    words = ("--data", str(DATA / f"{MODEL}.safetensors"), "--json")
    stage.command("model", "publish", str(MODELS / "digits-standard"), *words, person="publisher")
    proposal = approved(stage, 1)
    stage.command("model", "promote", proposal, "--reason", "first version", person="admin")


def _watched(stage: Stage, stack: ExitStack, port: int) -> list[Repeated]:
    rules = AlertRules(read_metrics(port))
    words = [*SEALGATE, "--state", str(stage.state), "health", MODEL, "--json"]
    watches = [
        Repeated("alerts", SCRAPE_SECONDS, rules.look),
        Repeated("health", HEALTH_SECONDS, health_check(words)),
    ]
    for watch in watches:
        stack.callback(watch.stop)
        watch.start()
    return watches


def _started(stage: Stage, stack: ExitStack, what: str, pause: float) -> Supervisor:
    stage.say(f"sealgate serve {what} &")
    command = [*SEALGATE, "--state", str(stage.state), "serve", what]
    kept = Supervisor(command, stage.state / f"{what}.log", _LISTENS[what], pause)
    stack.callback(kept.stop)
    kept.start()
    return kept


_LISTENS = {"engine": "listening:", "events": "delivering to"}
