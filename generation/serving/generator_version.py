"""A version of a language model that is loaded and checked against its golden answers."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from generation.config import GenerationSettings
from generation.models.architectures import AnswerBatches
from generation.models.closing import close_when_collected
from generation.models.decoder import LanguageModel
from generation.models.folder import GoldenAnswers
from generation.models.perplexity import float32_reference, score
from generation.models.split import SplitDecoder
from generation.serving.streamed_text import StreamedText
from inference.batching import BatcherCounts
from inference.engine import Statistics
from inference.llm.messages import AnswerPart
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import (
    FLOAT32,
    GOLDEN,
    INT8,
    INT8_INTEGER,
    TERMS,
    GeneratorTerms,
    NoClassifier,
)
from inference.runtime.providers import ON_TORCH_CPU, TorchDevice
from inference.runtime.settings import CPU
from sealgate.reasons import Reason, SealgateError

_GOLDEN_SECONDS = 100.0
# So often a caller whose prompt waits to be measured is looked at: it may have gone.
_LOOK_SECONDS = 0.05
_PLACE = "in-process, digest checked"


@dataclass(frozen=True, slots=True)
class ScreenedPrompt:
    """A prompt's tokens, and its screening score if the model screens prompts."""

    ids: tuple[int, ...]
    score: float | None


class GeneratorVersion(NoClassifier):
    """A `ServableVersion` that generates. It answers as long as anyone refers to it."""

    def __init__(
        self,
        digest: str,
        terms: GeneratorTerms,
        decoder: LanguageModel,
        measured: PreTrainedModel | SplitDecoder | None,
        batches: AnswerBatches,
        place: str = "",
    ) -> None:
        """`measured` is a copy of the decoder's model, which `batches` makes generate; None where
        that measures no prompts. `place` says where it is computed, unless that is the CPU.
        """
        self.digest = digest
        self.place = place
        engine = terms.runs_in(_PLACE)
        self.engine = f"{engine}, on {self.place}" if self.place else engine
        self.arithmetic = FLOAT32 if terms.precision == FLOAT32 else INT8
        self.statistics = Statistics()
        self.terms = terms
        self.batches = batches
        self.decoder = decoder
        self.measured_model = measured
        self._mutex = threading.Lock()
        self.measuring = threading.Lock()
        self._closed = False
        self._requests = self._dropped = 0
        close_when_collected(self, batches.close)

    @classmethod
    def build(
        cls,
        digest: str,
        folder: Path,
        settings: GenerationSettings,
        device: TorchDevice = ON_TORCH_CPU,
        on_lost: Callable[[], None] = lambda: None,
    ) -> "GeneratorVersion":
        """Make the version of `digest` ready from a private folder of its files, on a device.
        `on_lost` is called where it is split over processes and one of them ends.

        1. `generator.json` and `golden.json` are well-formed (DOCUMENT_MALFORMED), and the device
           computes in its precision (ENGINE_UNSUITABLE), or the settings allow the CPU.
        2. The weights load (CHECKPOINT_REFUSED), attention has the windows of the terms, and prompt
           and answer together have room in the model and in the cache; the terms have a screen
           where it measures prompts, and none where it does not (ENGINE_UNSUITABLE).
        3. The golden prompts are cut, and answered greedily, as the publisher's (GOLDEN_MISMATCH).
        """
        # 1.
        terms = GeneratorTerms.decode((folder / TERMS).read_bytes())
        golden = GoldenAnswers.decode((folder / GOLDEN).read_bytes())
        device = _suited(device, terms, settings)
        # 2.
        split = partial(_split, device.name, settings.processes, on_lost)
        decoder = LanguageModel.read(
            *(folder, terms.precision, terms.attention, device.name),
            split if settings.processes > 1 else None,
        )
        try:
            return cls._ready(digest, terms, golden, decoder, settings, _place(device, settings))
        except BaseException:
            if isinstance(decoder.model, SplitDecoder):
                decoder.model.close()
            raise

    @classmethod
    def _ready(
        cls,
        digest: str,
        terms: GeneratorTerms,
        golden: GoldenAnswers,
        decoder: LanguageModel,
        settings: GenerationSettings,
        place: str,
    ) -> "GeneratorVersion":
        """The rest of steps 2 and 3."""
        longest = terms.prompt_tokens + terms.output_tokens
        held = longest if terms.attention is None else terms.attention.equivalent(longest)
        if longest > decoder.positions or held > settings.cache_tokens:
            raise SealgateError(Reason.ENGINE_UNSUITABLE, f"{longest} tokens have no room")
        if decoder.measures != (terms.screening is not None):
            raise SealgateError(
                Reason.ENGINE_UNSUITABLE,
                "a prompt's score is missing or unexpected under its terms",
            )
        measured = decoder.model if decoder.measures else None
        if isinstance(measured, PreTrainedModel):
            measured = float32_reference(measured)
        batches = decoder.answers(settings, longest)
        version = cls(digest, terms, decoder, measured, batches, place)
        # 3.
        golden.check(version._cut, version._greedy)
        return version

    def read(
        self, asked: SamplingRequest, deadline: float, active: Callable[[], bool]
    ) -> ScreenedPrompt:
        """Cut and measure a prompt; `deadline` and `active` are as for `answer`.

        Raises: as `LanguageModel.cut`; PARAMETER_MALFORMED, DEADLINE_TOO_SHORT.
        """
        self.terms.check(asked.sampling)
        cut, screen = self.decoder.cut(asked, self.terms.prompt_tokens), self.terms.screening
        ids = tuple(cut.ids)
        if screen is None:
            return ScreenedPrompt(ids, None)
        # One after another: each takes a run of the model over the whole prompt.
        with self._turn(deadline, active):
            model = self.measured_model
            joined = self.decoder.joined(screen, ids)
            measured = (ids, screen.window, cut.written, screen.tail, joined)
            if isinstance(model, SplitDecoder):
                found = model.score(*measured, lambda: _check_awaited(deadline, active))
            else:
                found = score(model, *measured)
        return ScreenedPrompt(ids, found)

    @contextmanager
    def answer(
        self,
        prompt: ScreenedPrompt,
        sampling: Sampling,
        deadline: float,
        active: Callable[[], bool],
        caller: str = "",
    ) -> Iterator[Iterator[AnswerPart]]:
        """The answer's pieces as they come, a token each; the last one says why it ends.

        Raises: as `Batches.answer`.
        """
        if self._closed:
            raise SealgateError(Reason.DRAINING)
        ended = False
        try:
            with self.batches.answer(prompt.ids, sampling, deadline, active, caller) as ids:
                yield self.pieces(ids, sampling)
                ended = True
        finally:
            with self._mutex:
                self._requests += ended
                self._dropped += not ended

    def counts(self) -> BatcherCounts:
        """Counts of answers since it was loaded; a request is a row and a batch of its own."""
        with self._mutex:
            return BatcherCounts(self._requests, self._requests, self._requests, self._dropped, 0)

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests, and end those in progress, which last too long to be waited for."""
        self._closed = True
        self.batches.close()
        return True

    @contextmanager
    def _turn(self, deadline: float, active: Callable[[], bool]) -> Iterator[None]:
        """A caller's turn to have a prompt measured; one that has disconnected costs no run."""
        while not self.measuring.acquire(timeout=_LOOK_SECONDS):
            _check_awaited(deadline, active)
        try:
            _check_awaited(deadline, active)
            yield
        finally:
            self.measuring.release()

    def pieces(self, ids: Iterator[int], sampling: Sampling) -> Iterator[AnswerPart]:
        text = StreamedText(self.decoder.tokenizer, sampling.stop)
        for number, token in enumerate(ids, 1):
            said, finish = text.add(token), ""
            if text.is_over or token in self.decoder.ends:
                finish = "stop"
            elif number == sampling.max_tokens:
                finish = "length"
            yield AnswerPart((token,), (said + text.end() if finish else said).encode(), finish)
            if finish:
                return

    def _cut(self, text: str) -> Sequence[int]:
        asked = SamplingRequest(text.encode(), False, Sampling(1))
        return self.decoder.prompt_ids(asked, self.terms.prompt_tokens)

    def _greedy(self, ids: Sequence[int], tokens: int) -> Sequence[int]:
        deadline = time.monotonic() + _GOLDEN_SECONDS
        with self.batches.answer(ids, Sampling(tokens), deadline) as answer:
            return list(answer)


def _suited(
    device: TorchDevice, terms: GeneratorTerms, settings: GenerationSettings
) -> TorchDevice:
    """The device, or the CPU for integers that only its kernels multiply, if that is allowed.

    Raises: ENGINE_UNSUITABLE.
    """
    precision = terms.precision
    if settings.processes > 1 and (precision != FLOAT32 or terms.attention is not None):
        what = "attention in windows" if precision == FLOAT32 else precision
        raise SealgateError(Reason.ENGINE_UNSUITABLE, f"{what} is not split over processes")
    if device.is_cpu or precision != INT8_INTEGER:
        return device
    if not settings.fallback:
        raise SealgateError(
            Reason.ENGINE_UNSUITABLE, f"{precision} is computed on the CPU, not on {device.place}"
        )
    return TorchDevice(CPU, f"{CPU} for want of {device.place}")


def _place(device: TorchDevice, settings: GenerationSettings) -> str:
    """Where a version is computed, in words; empty for the CPU and one process."""
    if settings.processes > 1:
        return f"{device.said}, {settings.processes} processes"
    return "" if device.place == CPU else device.said


def _split(
    device: str, processes: int, on_lost: Callable[[], None], folder: Path, config: Any
) -> SplitDecoder:
    kind = device.partition(":")[0]
    return SplitDecoder(folder, config, processes, kind, on_lost=on_lost)


def _check_awaited(deadline: float, active: Callable[[], bool]) -> None:
    if time.monotonic() >= deadline or not active():
        raise SealgateError(
            Reason.DEADLINE_TOO_SHORT, "the deadline passed before the prompt was screened"
        )
