"""The alarms that the drill recognises: alerts, events and health checks."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from demo.drill.alarms import (
    EVENTS,
    RULES,
    AlertRules,
    SeenAlarm,
    WebhookAlarms,
    first_alarm,
    health_check,
    rule_values,
)
from sealgate.events.cloud_events import KINDS
from sealgate.events.webhooks import new_secret, read_secret, signatures

ROOT = Path(__file__).parents[4]
QUIET = """\
# TYPE sealgate_outcome_limit_passed gauge
sealgate_outcome_limit_passed{model="digits",alias="production"} 0
# TYPE sealgate_requests_total counter
sealgate_requests_total{model="digits",reason="RECORD_FAILED"} 2
sealgate_requests_total{model="digits",reason=""} 90
"""


def at(moment: float, source: str = "an alert") -> SeenAlarm:
    return SeenAlarm(source, "", moment)


class Fixed:
    def __init__(self, *alarms: SeenAlarm) -> None:
        self._alarms = alarms

    def first(self, since: float) -> SeenAlarm | None:
        return next((alarm for alarm in self._alarms if alarm.at > since), None)


def test_the_rules_are_those_that_are_shipped_and_fire_at_once() -> None:
    text = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    [group] = yaml.safe_load(text)["groups"]
    shipped = {rule["alert"]: rule for rule in group["rules"]}
    for name, rule in RULES.items():
        assert rule.metric in shipped[name]["expr"]
        assert all(reason in shipped[name]["expr"] for reason in rule.reasons)
        assert "for" not in shipped[name]


def test_the_events_are_kinds_that_there_are() -> None:
    assert set(EVENTS) <= set(KINDS)


def test_a_rule_looks_at_its_metric_and_its_reasons_alone() -> None:
    values = rule_values(QUIET)
    assert values["SealgateNotRecording"] == 2
    assert values["SealgateOutcomesBad"] == 0
    assert values["SealgateScreeningWithdrawn"] == 0


def test_an_alert_is_what_begins_to_hold_between_two_looks() -> None:
    texts = [QUIET, QUIET, QUIET.replace("} 0", "} 1"), QUIET.replace("} 0", "} 1")]
    rules = AlertRules(lambda: texts.pop(0))
    found = [[alarm.source for alarm in rules.look()] for _ in range(4)]
    assert found == [[], [], ["alert SealgateOutcomesBad"], []]


def test_a_gateway_that_does_not_answer_raises_no_alert() -> None:
    def read() -> str:
        raise OSError

    assert AlertRules(read).look() == []


@pytest.mark.parametrize(("status", "alarms"), [(0, 0), (1, 1), (2, 1)])
def test_a_health_check_alarms_unless_all_is_well(status: int, alarms: int) -> None:
    findings = [
        {"check": "golden", "subject": "digits", "state": "wrong", "detail": "3 of 8 differ"},
        {"check": "policy", "subject": "policy", "state": "well", "detail": "365 days left"},
    ]
    printed = json.dumps({"status": status, "findings": findings})
    command = [sys.executable, "-c", f"print({printed!r}); raise SystemExit({status})"]
    found = health_check(command)()
    assert [alarm.detail for alarm in found] == ["golden of digits: 3 of 8 differ"] * alarms


def test_the_first_alarm_after_the_break_wins() -> None:
    now = time.monotonic()
    sources = [Fixed(at(now - 1), at(now + 3, "health")), Fixed(at(now + 2))]
    found = first_alarm(sources, now, 1)
    assert found is not None
    assert found.source == "an alert"


def test_without_an_alarm_the_wait_ends() -> None:
    assert first_alarm([Fixed()], time.monotonic() - 2, 1) is None


@pytest.fixture
def webhooks(tmp_path: Path) -> Iterator[tuple[WebhookAlarms, bytes]]:
    secret = tmp_path / "secret"
    secret.write_text(new_secret())
    secret.chmod(0o600)
    made = WebhookAlarms()
    made.start(secret.read_text())
    yield made, read_secret(secret)
    made.stop()


def post(webhooks: WebhookAlarms, key: bytes, kind: str) -> int:
    body = json.dumps({"type": f"sealgate.{kind}", "data": {"index": 7, "reason": "slow"}}).encode()
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": "2",
        "webhook-signature": signatures([key], "1", 2, body),
    }
    url = f"http://127.0.0.1:{webhooks.port}/"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_signed_event_of_an_alarming_kind_is_an_alarm(
    webhooks: tuple[WebhookAlarms, bytes],
) -> None:
    receiver, key = webhooks
    began = time.monotonic()
    assert post(receiver, key, "alias.promoted") == 204
    assert receiver.first(began) is None
    assert post(receiver, key, "alias.rolled-back-automatically") == 204
    found = receiver.first(began)
    assert found is not None
    assert found.source == "webhook: alias rolled back automatically"
    assert (found.detail, found.index) == ("slow", 7)


def test_an_event_that_somebody_else_signed_is_refused(
    webhooks: tuple[WebhookAlarms, bytes],
) -> None:
    receiver, key = webhooks
    assert post(receiver, bytes(len(key)), "alias.rolled-back-automatically") == 403
    assert receiver.first(0) is None
