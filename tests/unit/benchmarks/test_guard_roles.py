"""The threshold of what a tool has fetched."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.guard import roles
from benchmarks.guard.baselines import Learnt
from benchmarks.guard.prompts import Prompts
from benchmarks.guard.published import Floats, Margins, Settled
from demo.operators import system_prompts
from inference.llm.request import Sampling, SamplingRequest
from inference.screening.calibration import conformal_rank
from tests.support.builders import guard_prompts

_CLEAN = ("note", "plan")


def leads(texts: Sequence[str]) -> Floats:
    """As far as the places of a text's words in the alphabet add up to."""
    return np.array([sum(map(ord, text)) / 1000 - 2 for text in texts], np.float32)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    """Of letters, which begin with "note", and of other prompts."""
    first = (*((word, "clean") for word in _CLEAN), ("pill", "injection"))
    return guard_prompts.learnt(
        tmp_path_factory.mktemp("learnt"), first, rows=1200, train=100, calibration=800
    )


def test_it_follows_from_the_letters_of_the_calibration_slice_alone(learnt: Learnt) -> None:
    letters = [text for text in learnt.said.values() if text.startswith("note")]
    margins = Margins(Settled(leads), learnt.windows)
    found = roles.by_kind(learnt, margins, {"letters": letters})["letters"]
    shown = [t for t in learnt.slices["calibration"].said if t.startswith("note")]
    over = int((leads(shown) > found / 100).sum())
    rank = conformal_rank(len(shown), roles.BOUND, 0.9)
    ordered = np.sort(leads(shown))
    assert ordered[-rank] <= found / 100 < ordered[-rank] + 0.0101
    assert over <= rank - 1


def test_each_kind_of_text_is_bounded_by_itself(learnt: Learnt) -> None:
    texts = learnt.said.values()
    kinds = {first: [text for text in texts if text.startswith(first)] for first in _CLEAN}
    margins = Margins(Settled(leads), learnt.windows)
    found = roles.by_kind(learnt, margins, kinds)
    assert len(set(found.values())) == 2
    for kind, some in kinds.items():
        assert roles.by_kind(learnt, margins, {kind: some}) == {kind: found[kind]}


def test_texts_of_many_windows_count_less_what_their_length_adds(learnt: Learnt) -> None:
    """Of four windows each."""
    shown = learnt.slices["calibration"]
    of_fours = replace(shown, prompts=np.cumsum(~shown.sought) // 4)
    learnt = replace(learnt, slices={**learnt.slices, "calibration": of_fours})
    kinds = {"all": list(learnt.said.values())}
    without, grown = (
        roles.by_kind(learnt, Margins(Settled(leads, {4: raised}), learnt.windows), kinds)["all"]
        for raised in (0, 30)
    )
    assert grown == without - 30


def test_too_few_texts_of_a_kind_back_no_bound(learnt: Learnt) -> None:
    with pytest.raises(ValueError, match="cannot back"):
        roles.by_kind(learnt, Margins(Settled(leads), learnt.windows), {"a": ["note ba"]})


def test_that_of_system_follows_from_system_prompts_that_are_made_up(learnt: Learnt) -> None:
    margins = Margins(Settled(leads, {2: 10}), learnt.windows)
    found = roles.of_system(margins, 0.9)
    texts = dict.fromkeys(system_prompts(1000))
    asked = [SamplingRequest(text.encode(), False, Sampling(1)) for text in texts]
    over = int((margins.of(asked) > found / 100).sum())
    assert 0 < over < conformal_rank(len(asked), roles.BOUND, 0.9)


def test_each_role_is_measured_by_its_margin_and_no_other_set(learnt: Learnt) -> None:
    asked = [SamplingRequest(text.encode(), False, Sampling(1)) for text in ("ba", "note ba")]
    sets = [
        Prompts("e-mails", True, asked),
        Prompts("S-Labs", True, asked),
        Prompts("between two e-mails", False, asked),
        Prompts("inside system prompts", False, asked),
    ]
    rows = roles.rows(Margins(Settled(leads), learnt.windows), sets, -170, 1000)
    assert [row["prompts"] for row in rows] == [
        "e-mails, from a tool",
        "between two e-mails, from a tool",
        "inside system prompts, as system",
    ]
    assert [row.get("false_alarms", row.get("found")) for row in rows] == [0.5, 0.5, 0]
