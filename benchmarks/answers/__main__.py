"""`make bench NAME=answers`: what the screen of answers finds and misses, and what it costs.

Each text is said in pieces as long as tokens and screened as an answer is: findings are masked. A
value counts as found if no half of it leaves. False alarms are findings in harmless values, in real
e-mails without the lines that hold an address or a telephone number, and in topics of Python's
manual. The costs are the CPU time of the screen alone, for each token of a long answer with a
system prompt, how many tokens have come behind the first part when it leaves, and what a classifier
of answers takes besides (`benchmarks.answers.classifier`). Prints tables; writes
results/answers.json.
"""

import pydoc_data.topics
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from benchmarks.answers.classifier import classifier_costs
from benchmarks.answers.texts import LabelledText, labelled, mails, parts_of
from benchmarks.report import Row, Target, finish, show
from inference.llm.answers import AnswerScreen
from inference.llm.messages import AnswerPart
from sealgate.trust.policy import Consequence
from sealgate.trust.policy.answers import HOLD_TOKENS, AnswerRules

_EACH, _SEED, _MAILS = 60, 20261129, 300
_RULES = AnswerRules({"secrets": Consequence.MASK, "personal": Consequence.MASK})
_ALL = AnswerRules(
    {
        "secrets": Consequence.MASK,
        "personal": Consequence.MASK,
        "prompt": Consequence.MASK,
        "canary": Consequence.MASK,
    },
    HOLD_TOKENS,
    ("sha256:" + "0" * 64,),
)
_TIMED, _LONG = 20, 512
_WHY = {
    "personal data found": "numbers of a form that no pattern has",
    "false alarms on harmless values": "of numbers of eleven digits some are right by chance",
}


def main() -> None:
    mail_texts = mails(_MAILS)
    if not mail_texts:
        sys.exit("the e-mails are not here: make build/bench/training")
    rows = [*_kinds(list(labelled(_EACH, _SEED)))]
    manual = [text[:1000] for text in pydoc_data.topics.topics.values()]
    rows += [_alarms("e-mails", mail_texts), _alarms("topics of Python's manual", manual)]
    show(rows, ("kind", "wanted", "texts", "found", "masked_whole"))
    costs = _costs(mail_texts)
    classified = classifier_costs(_long_answers(mail_texts))
    show([costs])
    show([classified])
    targets = [
        Target("secrets found", _share(rows, "secrets"), 0.99, least=True),
        Target("personal data found", _share(rows, "personal"), 0.99, least=True),
        Target("false alarms on harmless values", _share(rows, ""), 0.01),
        Target("false alarms on e-mails", _of(rows, "e-mails"), 0.01),
        Target("CPU ms a token, 90% of answers", costs["ms_a_token_p90"], 1.0),
        Target("CPU ms a token of a classifier, 90% of answers", classified["ms_a_token_p90"], 1.0),
        Target("tokens before the first leaves", costs["held_tokens"], float(HOLD_TOKENS)),
    ]
    finish("answers", [*rows, costs, classified], [target.unless_met(_WHY) for target in targets])


def _kinds(texts: Sequence[LabelledText]) -> Iterator[Row]:
    """A row for each kind of value."""
    for (kind, wanted), group in groupby(texts, lambda each: (each.kind, each.wanted)):
        same = list(group)
        screened = [_screened(each.text) for each in same]
        if not wanted:
            found = [bool(kinds) for _, kinds in screened]
            yield {"kind": kind, "wanted": "", "texts": len(same), "found": float(np.mean(found))}
            continue
        pairs = list(zip(same, screened, strict=True))
        gone = [not _leaks(each.value, said) for each, (said, _) in pairs]
        whole = [
            said == each.text.replace(each.value, f"[{_MARK[wanted]}]") for each, (said, _) in pairs
        ]
        yield {
            "kind": kind,
            "wanted": wanted,
            "texts": len(same),
            "found": float(np.mean(gone)),
            "masked_whole": float(np.mean(whole)),
        }


_MARK = {"secrets": "secret", "personal": "personal"}


def _leaks(value: str, said: str) -> bool:
    """Whether half of a value or more left in a row."""
    size = max(4, len(value) // 2)
    return any(value[at : at + size] in said for at in range(len(value) - size + 1))


def _alarms(name: str, texts: Sequence[str]) -> Row:
    """How many texts with nothing to find have a finding."""
    kinds = [_screened(text)[1] for text in texts]
    return {
        "kind": name,
        "wanted": "none",
        "texts": len(texts),
        "found": float(np.mean([bool(each) for each in kinds])),
        "secrets": float(np.mean(["secrets" in each for each in kinds])),
        "personal": float(np.mean(["personal" in each for each in kinds])),
    }


def _screened(text: str) -> tuple[str, set[str]]:
    """The text as it leaves, and the kinds of findings."""
    screen = AnswerScreen(_RULES)
    said = b"".join(part.text for part in screen.over(_answer(parts_of(text)))).decode()
    return said, screen.kinds


def _answer(pieces: Sequence[str]) -> Iterator[AnswerPart]:
    for at, piece in enumerate(pieces, 1):
        yield AnswerPart((at,), piece.encode(), "stop" if at == len(pieces) else "")


def _costs(texts: Sequence[str]) -> Row:
    """Of answers of so many tokens with all that may be looked for."""
    system = " ".join(texts[0].split()[:150])
    spent = []
    for answer in _long_answers(texts):
        began = time.thread_time()
        for _ in AnswerScreen(_ALL, [system]).over(answer):
            pass
        spent.append(1e3 * (time.thread_time() - began) / len(answer))
    return {
        "kind": "costs",
        "ms_a_token_p50": float(np.median(spent)),
        "ms_a_token_p90": float(np.percentile(spent, 90)),
        "held_tokens": _held(parts_of("\n".join(texts))),
    }


def _long_answers(texts: Sequence[str]) -> list[list[AnswerPart]]:
    """`_TIMED` answers of `_LONG` tokens each."""
    pieces = parts_of("\n".join(texts))
    starts = range(0, _TIMED * _LONG, _LONG)
    return [list(_answer(pieces[start : start + _LONG])) for start in starts]


def _held(pieces: Sequence[str]) -> int:
    """How many tokens have come beyond the first when that leaves."""
    came = 0

    def counted() -> Iterator[AnswerPart]:
        nonlocal came
        for part in _answer(pieces):
            came += 1
            yield part

    next(AnswerScreen(_ALL).over(counted()))
    return came - 1


def _share(rows: Sequence[Row], wanted: str) -> float:
    return float(np.mean([row["found"] for row in rows if row["wanted"] == wanted]))


def _of(rows: Sequence[Row], kind: str) -> float:
    return float(next(row["found"] for row in rows if row["kind"] == kind))


if __name__ == "__main__":
    main()
