"""A gateway with two engines of its own processes, the second of which runs graphs in another
way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealgate.setup.configuration import EnginePlace
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.processes.engine_process import EngineProcess

SECOND = "engine-2"


def add_engine(state: Path, runtime: str) -> None:
    """Tell the gateway of a second engine, whose section `[runtime]` says this."""
    text = (state / "engine.toml").read_text()
    (state / SECOND).mkdir(mode=0o700)
    changed = text.replace('"engine/', f'"{SECOND}/') + f"\n[runtime]\n{runtime}\n"
    (state / f"{SECOND}.toml").write_text(changed)
    with (state / "gateway.toml").open("a") as gateway:
        gateway.write(f'\n[[engines]]\nname = "second"\nsocket = "{SECOND}/engine.sock"\n')


@contextmanager
def two_engines(
    state: Path, runtime: str, *python: str
) -> Iterator[tuple[GatewayHarness, EngineProcess, EngineProcess]]:
    """The gateway and its engines, all running. `python` runs the second, where it is given."""
    harness = GatewayHarness(state, engine=EnginePlace())
    add_engine(state, runtime)
    engines = EngineProcess(state), EngineProcess(state, f"{SECOND}.toml", *python)
    try:
        for engine in engines:
            engine.start()
        harness.start()
        yield harness, *engines
    finally:
        harness.stop()
        for engine in engines:
            if engine.runs:
                engine.stop()
