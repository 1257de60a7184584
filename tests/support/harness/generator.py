"""An installation whose language models run behind their own listener, on threads of the test's."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from generation.config import GeneratorConfig
from generation.serving import generator_server
from inference.server.server import EngineServer
from sealgate.setup.configuration import EnginePlace
from sealgate.trust.receipts.answer_entry import FIELDS
from tests.support.builders.models.tiny_decoder import prompts
from tests.support.harness.gateway import GatewayHarness

PROMPT_TOKENS, OUTPUT_TOKENS = 96, 128
T = TypeVar("T")
_GENERATION = """
[generation]
copies = "engine/copies"
cache_tokens = 2048
page_tokens = 16
"""


def publishing(folder: Path, given: Path, model: str = "tiny") -> list[str]:
    """The words of the command that publishes the model in a folder with the prompts `given`."""
    return [
        *("model", "publish-generator", str(folder), "--name", model),
        *("--prompts", str(given), "--use", "tests"),
        *("--data", "Python's manual", "--license", "PSF-2.0"),
        *("--prompt-tokens", str(PROMPT_TOKENS), "--output-tokens", str(OUTPUT_TOKENS)),
    ]


class GeneratorHarness(GatewayHarness):
    """A gateway with a generator, which `start_generator` starts; `more` is for `gateway.toml`."""

    def __init__(self, state: Path, more: str = "") -> None:
        super().__init__(state, engine=EnginePlace())
        gateway = (state / "gateway.toml").read_text().replace("[engine]", "[generator]")
        (state / "gateway.toml").write_text(gateway + more)
        text = (state / "engine.toml").read_text()
        (state / "generator.toml").write_text(text + _GENERATION)
        self.generator: EngineServer | None = None

    def start_generator(self) -> None:
        config = GeneratorConfig.read(self.state / "generator.toml")
        self.generator = generator_server.build(config)
        self.generator.start()

    def stop_generator(self) -> None:
        generator, self.generator = self.generator, None
        if generator is not None:
            # At once: streams that are open are cut, as when a process is killed.
            generator.grpc_server.stop(None)
            generator.stop()

    def publish_generator(
        self,
        folder: Path,
        model: str = "tiny",
        asked: Sequence[str] = (),
        more: Sequence[str] = (),
    ) -> None:
        """From prompts that are `asked`, or the tiny decoder's; `more` are other options."""
        result = self.command(
            *publishing(folder, self.write_prompts(asked), model),
            # The tiny translator is smaller still, and moved by its mark.
            *(("--watermark-loss", "5") if asked else ()),
            *more,
        )
        assert result.exit_code == 0, result.output

    def write_prompts(self, asked: Sequence[str] = ()) -> Path:
        """The file of the prompts that publishing asks, in the installation."""
        given = self.state / "prompts.json"
        given.write_text(json.dumps(list(asked) or prompts(90)))
        return given

    def batches(self, model: str = "tiny") -> Any:
        """The batches of the version that the generator follows."""
        return self._version(model).batches

    def decoder(self, model: str = "tiny") -> Any:
        """Its model, marked as it is."""
        return self._version(model).decoder

    def _version(self, model: str) -> Any:
        assert self.generator is not None
        return self.generator.host.engine.live()[model, "production"].ready

    @contextmanager
    def paused_after(self, begin: Callable[[], T]) -> Iterator[T]:
        """Pauses generation as soon as `begin` has had the first part of an answer. Until then each
        token takes a while, or the answer might have come to its end by that time.
        """
        batches = self.batches()
        forward = batches.model.forward

        def slowly(*given: Any, **named: Any) -> Any:
            time.sleep(0.03)
            return forward(*given, **named)

        with ExitStack() as paused:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(batches.model, "forward", slowly)
                first = begin()
                paused.enter_context(batches.manager.pause())
            yield first

    def digest(self) -> str:
        """The digest of what is in production."""
        return str(self.gateway.engine.live()["tiny", "production"].digest)

    def entries(self, start: int) -> list[dict[str, str]]:
        """The entries that have been recorded from that index on."""
        recorder = self.gateway.recorder
        found = []
        for index in range(start, recorder.size):
            opened = recorder.open(index).opened
            found.append({field: opened[field][1] for field in FIELDS})
        return found


@contextmanager
def generating(
    state: Path, folder: Path, more: str = "", asked: Sequence[str] = ()
) -> Iterator[GeneratorHarness]:
    """A gateway in which version 1 of `tiny` is in production; `more` is as for `GeneratorHarness`,
    `asked` as for `publish_generator`.
    """
    harness = GeneratorHarness(state, more)
    harness.start_generator()
    try:
        harness.start()
        harness.publish_generator(folder, asked=asked)
        harness.promote("tiny", 1)
        yield harness
    finally:
        harness.stop()
        harness.stop_generator()
