"""`sealgate witness serve`, as its operator runs it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.config.optional_sections import WitnessSettings
from gateway.cosigning.cosignatures import CosignatureStore
from gateway.cosigning.updates import submit
from sealgate.cli.main import main
from sealgate.settings import ConfigError
from sealgate.trust.transparency.checkpoint import cosignatures
from sealgate.witness.commands import WitnessConfig
from tests.support.builders.documents.people import ANSWER_LOG
from tests.support.fakes.growing_log import GrowingLog

LOG = GrowingLog().vkey
CONFIGURATION = f"""
[witness]
name = "witness.example"
listen = "127.0.0.1:0"
key = "witness.key"
database = "witness.db"

[[logs]]
key = "{LOG}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    made = CliRunner().invoke(main, ["key", "new", "--unencrypted", str(tmp_path / "witness.key")])
    assert made.exit_code == 0, made.output
    path = tmp_path / "witness.toml"
    path.write_text(CONFIGURATION)
    return path


def test_it_serves_until_it_is_told_to_stop(config: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sealgate.cli.main", "witness", "serve", "--config", str(config)]
    log = GrowingLog("a", "b")
    for more in (["--new"], []):
        process = subprocess.Popen([*words, *more], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            key = process.stdout.readline().removeprefix("verifier key: ").strip()
            port = process.stdout.readline().strip().rpartition(":")[2]
            settings = WitnessSettings(f"http://127.0.0.1:{port}", key)
            kept = CosignatureStore(tmp_path / "kept.json", [settings.witness])
            log.grow("c")
            process.send_signal(signal.SIGHUP)
            submit(log, settings, kept)
            assert len(cosignatures(kept.best(ANSWER_LOG), [settings.witness])) == 1
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            process.stdout.close()


def test_a_lost_database_is_not_begun_again(config: Path) -> None:
    told = CliRunner().invoke(main, ["witness", "serve", "--config", str(config)])
    assert told.exit_code == 1
    assert "--new" in told.output


@pytest.mark.parametrize(("found", "told"), [(b"", "--new"), (b"something else" * 99, "database")])
def test_a_database_that_is_another_file_is_refused(
    config: Path, tmp_path: Path, found: bytes, told: str
) -> None:
    (tmp_path / "witness.db").write_bytes(found)
    refused = CliRunner().invoke(main, ["witness", "serve", "--config", str(config)])
    assert refused.exit_code == 1
    assert told in refused.output


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("127.0.0.1:0", "0.0.0.0:7380", "certificate"),
        ("127.0.0.1:0", "127.0.0.1", "host:port"),
        ("witness.example", "a b", "blanks"),
        (LOG, "nonsense", "key"),
        (f'[[logs]]\nkey = "{LOG}"', "", "[[logs]]"),
        ('database = "witness.db"', "", "[witness] needs database"),
        ("[[logs]]", f'[[logs]]\nkey = "{LOG}"\n[[logs]]', "twice"),
        ('database = "witness.db"', 'database = "w.db"\ncertificate = "c.pem"', "go together"),
    ],
)
def test_bad_configurations_say_what_to_change(config: Path, old: str, new: str, told: str) -> None:
    config.write_text(CONFIGURATION.replace(old, new))
    with pytest.raises(ConfigError, match=told.replace("[", r"\[")):
        WitnessConfig.read(config)
