"""Engines of their own and what runs graphs, in the gateway's configuration."""

from pathlib import Path

import pytest

from gateway.config.document import GatewayConfig
from inference.runtime.settings import ON_CPU
from sealgate.settings import ConfigError
from tests.unit.gateway.config.test_document import GOOD

ONE = '[engine]\nsocket = "one.sock"\n'
TWO = '[[engines]]\nname = "two"\nsocket = "two.sock"\n'


def read(tmp_path: Path, more: str) -> GatewayConfig:
    path = tmp_path / "gateway.toml"
    path.write_text(GOOD + more)
    return GatewayConfig.read(path)


@pytest.mark.parametrize(
    ("more", "names"),
    [("", []), (ONE, ["engine"]), (ONE + TWO, ["engine", "two"]), (TWO, ["two"])],
)
def test_the_engines_that_are_named(tmp_path: Path, more: str, names: list[str]) -> None:
    config = read(tmp_path, more)
    assert [engine.name for engine in config.all_engines] == names
    assert config.runtime == ON_CPU


def test_what_runs_graphs_here(tmp_path: Path) -> None:
    stated = read(tmp_path, '[runtime]\nprovider = "cuda"\nfallback = true\narena_mb = 512\n')
    assert (stated.runtime.provider, stated.runtime.fallback) == ("cuda", True)
    assert stated.runtime.arena_mb == 512


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('[[engines]]\nname = "two"\n', "each need a socket"),
        (TWO + TWO, "a name each"),
        (ONE + TWO.replace("two", "engine", 1), "a name each"),
        (TWO.replace("two", "Two", 1), "not of the form"),
        (TWO + "[[batching]]\nmax_rows = 4\n", "belongs into engine.toml"),
        (ONE + "[runtime]\ndeterministic = true\n", "belongs into engine.toml"),
        (TWO + '[foreign_engine]\naddress = "127.0.0.1:1"\n', "cannot both"),
        ('[foreign_engine]\naddress = "127.0.0.1:1"\n[runtime]\narena_mb = 9\n', "has no effect"),
        ('[runtime]\nprovider = "gpu"\n', "provider is one of"),
        ("[runtime]\nthreads_per_run = 0\n", "must be positive"),
    ],
)
def test_what_makes_no_sense_together(tmp_path: Path, more: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, more)
