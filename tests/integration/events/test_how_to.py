"""The walk-through of docs/how-to/events.md does what it says, word for word but for the port."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.stage import free_ports
from sealgate.events.cloud_events import KINDS
from sealgate.events.config import EventsConfig
from sealgate.events.process import EventsProcess
from tests.support.harness.gateway import running

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "events.md").read_text()


def block(kind, beginning):
    """The first code block of a kind that has such a beginning."""
    blocks = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    return next(text for text in blocks if text.startswith(beginning))


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("events") / "state") as harness:
        yield harness


def test_the_receiver_prints_what_happens(harness, tmp_path):
    port = str(free_ports())
    program = block("python", "import sys")
    (tmp_path / "receiver.py").write_text(program.replace("9000", port))
    configuration = harness.state / "events.toml"
    configuration.write_text(block("toml", "[gateway]").replace("9000", port))
    key = harness.state / "ops.key"
    assert harness.command("events", "secret", str(key)).exit_code == 0
    receiver = subprocess.Popen(
        [sys.executable, str(tmp_path / "receiver.py"), str(key)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    process = EventsProcess(EventsConfig.read(configuration))
    process.start()
    try:
        assert receiver.stdout.readline().startswith("sealgate.policy.accepted policies/1 ")
    finally:
        process.stop()
        receiver.kill()
        receiver.wait()


def test_the_page_names_every_kind():
    told = set(re.findall(r"`([a-z]+\.[a-z-]+)`", PAGE))
    told |= {f"proposal.{name}" for name in re.findall(r"`\.([a-z]+)`", PAGE)}
    assert set(KINDS) <= told
