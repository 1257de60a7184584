"""The alarms that an operator would see first: an alert of Prometheus, an event by webhook, a
health check.

All three are asked in every case. Alerts are those rules of `deploy/prometheus/alerts.yml` that
fire at once; the metrics are read each second here, by Prometheus less often. The health check is
asked again two seconds after it has ended, by the timer of `deploy/systemd` each five minutes.
"""

import base64
import hashlib
import hmac
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Protocol

from prometheus_client.parser import text_string_to_metric_families

SCRAPE_SECONDS = 1.0
HEALTH_SECONDS = 2.0
_LOOK = 0.05
_HTTP_SECONDS = 5.0


class Rule(NamedTuple):
    """An alert: its metric, of which reasons alone if it names any, and what it tells."""

    metric: str
    tells: str
    reasons: tuple[str, ...] = ()


RULES = {
    "SealgateOutcomesBad": Rule(
        "sealgate_outcome_limit_passed", "reported outcomes pass a limit of the policy"
    ),
    "SealgateScreeningWithdrawn": Rule(
        "sealgate_screening_bound_withdrawn", "traffic is no longer as calibrated"
    ),
    "SealgateNotRecording": Rule(
        "sealgate_requests_total",
        "the answer log cannot be written, and nothing is answered",
        ("RECORD_FAILED", "LOG_FENCED", "LOG_INCONSISTENT"),
    ),
}
EVENTS = {
    "alias.rolled-back-automatically": "the gateway rolled an alias back",
    "screening.bound-withdrawn": "traffic is no longer as calibrated",
    "log.inconsistent": "a log did not only grow",
}
"""The kinds of events that are alarms."""


@dataclass(frozen=True, slots=True)
class SeenAlarm:
    """An alarm: its `source` in a few words, its text, and when it was seen (`time.monotonic`)."""

    source: str
    detail: str
    at: float
    index: int = -1
    """The entry of the registry's log that an event tells of."""


class AlarmSource(Protocol):
    def first(self, since: float) -> SeenAlarm | None:
        """The first alarm after that time."""
        ...


def first_alarm(sources: Sequence[AlarmSource], since: float, seconds: float) -> SeenAlarm | None:
    """Wait for the first alarm after `since`, for so many seconds."""
    while True:
        found = [alarm for source in sources if (alarm := source.first(since)) is not None]
        if found:
            return min(found, key=lambda alarm: alarm.at)
        if time.monotonic() > since + seconds:
            return None
        time.sleep(_LOOK)


class Repeated:
    """A thread that looks again and again, and keeps the alarms that it sees."""

    def __init__(self, name: str, pause: float, look: Callable[[], list[SeenAlarm]]) -> None:
        self._look = look
        self._pause = pause
        self._kept: list[SeenAlarm] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def first(self, since: float) -> SeenAlarm | None:
        return next((alarm for alarm in list(self._kept) if alarm.at > since), None)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause):
            self._kept += self._look()


class AlertRules:
    """Reads a gateway's `/metrics`, and says which rules of RULES begin to hold."""

    def __init__(self, read: Callable[[], str]) -> None:
        """`read` returns the metrics' text. Raises: OSError."""
        self._read = read
        self._before: dict[str, float] | None = None

    def look(self) -> list[SeenAlarm]:
        """The alarms since the last look; none at the first."""
        try:
            values = rule_values(self._read())
        except OSError:
            # A gateway that does not answer is the health check's to tell.
            return []
        before, self._before = self._before, values
        if before is None:
            return []
        return [
            SeenAlarm(f"alert {rule}", RULES[rule].tells, time.monotonic())
            for rule, value in values.items()
            if value > before[rule]
        ]


def rule_values(text: str) -> dict[str, float]:
    """Of each rule the sum of the samples that it looks at, in metrics in Prometheus' format."""
    sums = dict.fromkeys(RULES, 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for name, rule in RULES.items():
                counts = not rule.reasons or sample.labels.get("reason") in rule.reasons
                if sample.name == rule.metric and counts:
                    sums[name] += sample.value
    return sums


def read_metrics(port: int) -> Callable[[], str]:
    """A function that reads `/metrics` on a port of loopback."""

    def read() -> str:
        url = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(url, timeout=_HTTP_SECONDS) as answer:
            return str(answer.read().decode())

    return read


def health_check(command: Sequence[str]) -> Callable[[], list[SeenAlarm]]:
    """A function that runs `sealgate health … --json` and returns an alarm if the exit status is 1
    or 2.
    """

    def look() -> list[SeenAlarm]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode:
            return []
        return [SeenAlarm("sealgate health", _wrong(done.stdout) or done.stderr, time.monotonic())]

    return look


def _wrong(text: str) -> str:
    try:
        findings = json.loads(text)["findings"]
    except ValueError:
        return ""
    wrong = (f for f in findings if f["state"] != "well")
    return "; ".join(f"{f['check']} of {f['subject']}: {f['detail']}" for f in wrong)


class WebhookAlarms:
    """Receives the events of `sealgate serve events` on loopback, and verifies their signatures."""

    def __init__(self) -> None:
        self._secret = b""
        self._kept: list[SeenAlarm] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _receiver(self))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def start(self, secret: str) -> None:
        """Listen; `secret` is that of `sealgate events secret`."""
        self._secret = base64.b64decode(secret.strip().removeprefix("whsec_"))
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def first(self, since: float) -> SeenAlarm | None:
        return next((alarm for alarm in list(self._kept) if alarm.at > since), None)

    def take(self, headers: Any, body: bytes) -> bool:
        """Keep an event, unless its signature does not verify (Standard Webhooks)."""
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.new(self._secret, text, hashlib.sha256).digest()
        wanted = f"v1,{base64.b64encode(digest).decode()}"
        if not hmac.compare_digest(wanted, headers["webhook-signature"] or ""):
            return False
        event = json.loads(body)
        kind = event["type"].removeprefix("sealgate.")
        if kind in EVENTS:
            data = event["data"]
            said = data.get("reason") or EVENTS[kind]
            index = data.get("index", -1)
            words = kind.replace(".", " ").replace("-", " ")
            self._kept.append(SeenAlarm(f"webhook: {words}", said, time.monotonic(), index))
        return True


def _receiver(alarms: WebhookAlarms) -> type[BaseHTTPRequestHandler]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204 if alarms.take(self.headers, body) else 403)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            """Requests are not logged."""

    return Receiver
