"""`sealgate health` asks eight rows of each alias, and waits ten seconds for each. Its unit was
ended after two minutes: where answers were slow, or an engine hung, and there were some aliases,
nothing was said, neither by exit status nor by metric, until a warning that no check had ended.
"""

import re

import yaml
from click import Command

from sealgate.cli.health import health
from tests.support.house import ROOT

DEPLOY = ROOT / "deploy"
ALIASES = 7


def test_the_unit_waits_as_long_as_the_check_does() -> None:
    unit = (DEPLOY / "systemd" / "sealgate-health.service").read_text()
    seconds = int(re.search(r"^TimeoutStartSec=(\d+)$", unit, re.M)[1])
    command: Command = health
    rows, timeout = (
        next(each.default for each in command.params if each.name == name)
        for name in ("rows", "timeout")
    )
    assert seconds >= ALIASES * rows * timeout
    # And is ended before others must take it for gone.
    rules = yaml.safe_load((DEPLOY / "prometheus" / "health-alerts.yml").read_text())
    (gone,) = [
        rule["expr"]
        for group in rules["groups"]
        for rule in group["rules"]
        if rule["alert"] == "SealgateHealthNotRun"
    ]
    assert seconds < int(gone.rpartition(">")[2])
