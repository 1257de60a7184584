"""An answer that is generated again, beside what was recorded of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from generation.serving.generator_version import ScreenedPrompt
from generation.serving.replay import answer_again, check_asked, check_told
from inference.backends.openai.generator import OpenAiEngine
from inference.llm.messages import AnswerPart
from inference.llm.request import Sampling, SamplingRequest, answer_digest
from inference.llm.terms import PromptScreen
from inference.runtime.providers import TorchDevice
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy.answers import AnswerClassifierRules, AnswerRules
from sealgate.trust.receipts.answer_entry import SEPARATE

ASKED = SamplingRequest(b"a prompt", False, Sampling(3))
PIECES = [
    AnswerPart((5,), b"one"),
    AnswerPart((6,), b" two"),
    AnswerPart((7,), b" three", "length"),
]
SCREEN = PromptScreen(16, 2.0, 0.05, 0.9, 60, 0.4)


class Version:
    """Says the same to everything."""

    terms = SimpleNamespace(screening=SCREEN)

    def read(self, *_: Any) -> ScreenedPrompt:
        return ScreenedPrompt((1, 2), 1.5)

    @contextmanager
    def answer(self, *_: Any) -> Iterator[Iterator[AnswerPart]]:
        yield iter(PIECES)


def recorded(tokens: int, **changes: str) -> dict[str, str]:
    """The fields of a receipt for that many tokens of the answer."""
    text = b"".join(piece.text for piece in PIECES[:tokens])
    output = answer_digest((1, 2), range(5, 5 + tokens), text)
    told = {"input": ASKED.digest, "output": output, "outcome": "answered", "verdict": "clean"}
    return told | changes


def again(told: dict[str, str]) -> Any:
    version: Any = Version()
    return answer_again(version, ASKED, told, 60)


def test_the_same_answer() -> None:
    found = again(recorded(3))
    assert (found.verdict, found.answer, found.tokens) == ("clean", "the same to its end", 3)


@pytest.mark.parametrize("tokens", [0, 2])
def test_one_that_was_cut(tokens: int) -> None:
    found = again(recorded(tokens, outcome="cut"))
    assert (found.answer, found.tokens) == ("the same as far as it came", tokens)


def test_one_that_had_not_begun() -> None:
    assert again(recorded(0, outcome="opened", output="")).answer == "none was given"


def test_a_guards_verdict_is_not_asked_for() -> None:
    assert again(recorded(3, verdict="suspect")).verdict == "suspect"


@pytest.mark.parametrize(
    "told",
    [
        # It says that it came to its end.
        recorded(2),
        recorded(3, output=answer_digest((1, 2), (5, 6, 8), b"one two three")),
        recorded(3, output=answer_digest((1, 2), (5, 6, 7), b"one two four")),
        recorded(3, output=answer_digest((1, 3), (5, 6, 7), b"one two three")),
        recorded(3, verdict="adversarial"),
        recorded(3, verdict=""),
    ],
)
def test_what_does_not_agree(told: dict[str, str]) -> None:
    with pytest.raises(SealgateError) as found:
        again(told)
    assert found.value.reason is Reason.REPLAY_MISMATCH


def classified(action: str) -> AnswerRules:
    """A classifier that a replay does not ask."""
    return AnswerRules({}, 1, classifier=AnswerClassifierRules(ASKED.digest, "unsafe", action))


def test_one_that_a_classifier_may_have_cut_agrees_as_far_as_it_came() -> None:
    version: Any = Version()
    told = recorded(1, actions="blocked")
    found = answer_again(version, ASKED, told, 60, classified("cut"))
    assert (found.answer, found.tokens) == ("the same as far as it came", 1)


@pytest.mark.parametrize(("action", "actions"), [("cut", ""), ("flag", "blocked")])
def test_one_that_no_classifier_can_have_cut_must_come_to_its_end(
    action: str, actions: str
) -> None:
    version: Any = Version()
    with pytest.raises(SealgateError, match="REPLAY_MISMATCH"):
        answer_again(version, ASKED, recorded(1, actions=actions), 60, classified(action))


def test_a_masked_answer_is_masked_again() -> None:
    rules = AnswerRules({"canary": "mask"}, 1, ("sha256:" + sha256(b"one-two-three").hexdigest(),))
    said = [AnswerPart((5,), b"one-two"), AnswerPart((6,), b"-three")]
    said.append(AnswerPart((7,), b"!", "stop"))

    class Telling(Version):
        @contextmanager
        def answer(self, *_: Any) -> Iterator[Iterator[AnswerPart]]:
            yield iter(said)

    version: Any = Telling()
    output = answer_digest((1, 2), (7,), b"[canary]!")
    found = answer_again(version, ASKED, recorded(3, output=output), 60, rules)
    assert found.answer == "the same to its end"
    with pytest.raises(SealgateError, match="REPLAY_MISMATCH"):
        answer_again(version, ASKED, recorded(3, output=output), 60)


@pytest.mark.parametrize(
    "asked",
    [
        SamplingRequest(b"another", False, Sampling(3)),
        SamplingRequest(b"a prompt", True, Sampling(3)),
        SamplingRequest(b"a prompt", False, Sampling(3, seed=1)),
    ],
)
def test_what_was_not_asked(asked: SamplingRequest) -> None:
    with pytest.raises(SealgateError) as found:
        check_asked(asked, ASKED.digest)
    assert found.value.reason is Reason.RECEIPT_MISMATCH


def test_what_another_server_generated_is_not_asked_again() -> None:
    engine = OpenAiEngine(None, "vllm", "{model}").engine  # type: ignore[arg-type]
    with pytest.raises(SealgateError) as found:
        check_told(recorded(3, engine=engine))
    assert found.value.reason is Reason.RECEIPT_MISMATCH
    check_told(recorded(3, engine=SEPARATE))
    check_told(recorded(3))


@pytest.mark.parametrize(
    ("place", "device"),
    [("cuda:1 (Card)", "cpu"), ("mps (Apple)", "cuda"), ("cuda (Card)", "rocm"), ("", "cuda")],
)
def test_another_kind_of_device_accuses_nobody(place: str, device: str) -> None:
    told = recorded(3, engine=f"{SEPARATE}; on {place}" if place else SEPARATE)
    with pytest.raises(SealgateError, match="name the same kind by --device") as found:
        check_told(told, TorchDevice("cpu", device))
    assert found.value.reason is Reason.RECEIPT_MISMATCH


@pytest.mark.parametrize(
    ("place", "device"),
    [
        ("cuda:1 (Card)", "cuda"),
        ("cpu for want of cuda", "cpu"),
        ("cuda (Card)", "cuda:3"),
        ("cpu, 2 processes", "cpu"),
        ("cuda (Card), 2 processes", "cuda"),
    ],
)
def test_the_same_kind_of_device_is_asked_again(place: str, device: str) -> None:
    for engine in (SEPARATE, f"{SEPARATE}; attention windows of 8 tokens in 1 of 2 layers"):
        check_told(recorded(3, engine=f"{engine}; on {place}"), TorchDevice("cpu", device))


def test_a_chat_may_have_come_in_its_canonical_form() -> None:
    canonical = SamplingRequest(b'[{"content":"hi","role":"user"}]', True, Sampling(1))
    given = SamplingRequest(b'[ {"role": "user", "content": "hi"} ]', True, Sampling(1))
    assert check_asked(given, canonical.digest) == canonical
    assert check_asked(given, given.digest) == given
