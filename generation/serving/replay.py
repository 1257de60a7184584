"""Generates a recorded answer again from the signed version, given prompt and sampling.

The receipt binds question and answer by digests only. The same seed gives the same tokens unless
two tokens are so close that another processor, or another number of threads, swaps them. A card
computes further from a CPU than that, so a replay is on the kind of device that the receipt names.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from generation.config import GenerationSettings
from generation.serving.generator_server import copy_verified
from generation.serving.generator_version import GeneratorVersion, ScreenedPrompt
from inference.backends.openai.generator import UNCHECKED
from inference.backends.remote.generator import place_in
from inference.engine import FileSource
from inference.llm.answers import AnswerScreen
from inference.llm.messages import AnswerPart
from inference.llm.request import SamplingRequest, answer_digest, said_in
from inference.llm.terms import TERMS, GeneratorTerms
from inference.runtime.providers import ON_TORCH_CPU, TorchDevice
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.policy import AnswerRules, Consequence
from sealgate.trust.receipts.answer_entry import BLOCKED
from sealgate.trust.statements import Manifest

_ANSWERED = "answered"
# A guard's, which is another version: it is not asked here.
_GUARDED = "suspect"


@dataclass(frozen=True, slots=True)
class AnswerAgreement:
    """The recorded verdict, how far the answer is the same, and how many tokens are."""

    verdict: str
    answer: str
    tokens: int


@contextmanager
def ready(
    manifest: Manifest,
    source: FileSource,
    place: Path,
    device: TorchDevice = ON_TORCH_CPU,
) -> Iterator[GeneratorVersion]:
    """A version from its signed files, which are copied to `place`, a private folder, with room for
    one answer; as a generator's process makes it ready on that device. Raises: as that does,
    FILE_MISSING for a version that generates nothing.
    """
    folder = copy_verified(manifest, source, place / "copies")
    terms, settings = (
        GeneratorTerms.decode((folder / TERMS).read_bytes()),
        GenerationSettings(place),
    )
    pages = 2 + (terms.prompt_tokens + terms.output_tokens) // settings.page_tokens
    settings = replace(settings, cache_tokens=pages * settings.page_tokens)
    version = GeneratorVersion.build(manifest.digest, folder, settings, device)
    try:
        yield version
    finally:
        version.close()


def check_told(told: Mapping[str, str], device: TorchDevice = ON_TORCH_CPU) -> None:
    """Refuse a receipt by which nothing can be asked again: where a server of OpenAI's protocol
    generated, nobody knows which tokens it was given and gave, nor by what they were drawn; and
    another kind of device than `device` rounds in another way. That another text comes here accuses
    nobody. Raises: RECEIPT_MISMATCH.
    """
    engine = told.get("engine", "")
    if engine.endswith(UNCHECKED):
        raise SealgateError(Reason.RECEIPT_MISMATCH, f"{engine}: there is nothing to compare")
    there, here = place_in(engine), device.place
    if _kind(there) != _kind(here):
        raise SealgateError(
            Reason.RECEIPT_MISMATCH,
            f"computed on {there}, and this would be on {here}: name the same kind by --device",
        )


def _kind(place: str) -> str:
    """`cuda` of `cuda:1 (its name)`, and `cpu` of `cpu, 2 processes`."""
    return place.partition(" ")[0].partition(":")[0].rstrip(",")


def check_asked(asked: SamplingRequest, recorded: str) -> SamplingRequest:
    """The prompt, if its digest is the recorded one; a chat also in the canonical form in which
    it comes by OpenAI's protocol. Raises: RECEIPT_MISMATCH.
    """
    forms = [asked]
    if asked.is_chat:
        with suppress(ValueError, RecursionError, SealgateError):
            forms.append(replace(asked, prompt=canonical.encode(json.loads(asked.prompt))))
    for form in forms:
        if form.digest == recorded:
            return form
    raise SealgateError(Reason.RECEIPT_MISMATCH, "prompt and sampling are not those of the receipt")


def answer_again(
    version: GeneratorVersion,
    asked: SamplingRequest,
    told: Mapping[str, str],
    seconds: float,
    rules: AnswerRules | None = None,
) -> AnswerAgreement:
    """Ask a version again, within so many seconds, and compare with what a receipt has `told`.
    `rules` are those by which the answer was screened, if it was.

    1. The verdict on the prompt is the same (REPLAY_MISMATCH), unless a guard came to it.
    2. Of an answer that came to its end all token ids and the text have the recorded digest, and of
       one that was cut or failed a beginning has it (REPLAY_MISMATCH). A classifier of answers,
       which is another version, is not asked: where it may have cut one, a beginning is enough.

    Raises too: as `GeneratorVersion.read` and `answer`.
    """
    # 1.
    deadline = time.monotonic() + seconds
    prompt, screen = version.read(asked, deadline, _is_awaited), version.terms.screening
    verdict = screen.verdict(prompt.score) if screen and prompt.score is not None else ""
    if told["verdict"] not in (verdict, _GUARDED):
        raise SealgateError(
            Reason.REPLAY_MISMATCH, f"the verdict is {verdict}, was {told['verdict']}"
        )
    # 2.
    if not told["output"]:
        return AnswerAgreement(told["verdict"], "none was given", 0)
    with version.answer(prompt, asked.sampling, deadline, _is_awaited) as pieces:
        if rules is not None:
            prompts = [text for role, text in said_in(asked) if role == "system"]
            pieces = AnswerScreen(rules, prompts, stops=asked.sampling.stop).over(pieces)
        is_cut = told["outcome"] != _ANSWERED or _may_be_cut(told, rules)
        return _compared(prompt, pieces, told, is_cut)


def _may_be_cut(told: Mapping[str, str], rules: AnswerRules | None) -> bool:
    """Whether a classifier that is not asked here may have ended the answer."""
    classifier = rules.classifier if rules else None
    cuts = classifier is not None and classifier.action == Consequence.CUT
    return cuts and BLOCKED in told.get("actions", "").split(",")


def _compared(
    prompt: ScreenedPrompt, pieces: Iterator[AnswerPart], told: Mapping[str, str], is_cut: bool
) -> AnswerAgreement:
    ids: list[int] = []
    text, finish = b"", ""
    for piece in chain((AnswerPart((), b""),), pieces):
        ids, text, finish = [*ids, *piece.ids], text + piece.text, piece.finish
        if (finish or is_cut) and answer_digest(prompt.ids, ids, text) == told["output"]:
            end = "to its end" if finish else "as far as it came"
            return AnswerAgreement(told["verdict"], f"the same {end}", len(ids))
    raise SealgateError(Reason.REPLAY_MISMATCH, f"other tokens or text, {len(ids)} tokens")


def _is_awaited() -> bool:
    return True
