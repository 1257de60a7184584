"""What arms of small language models are given, and what their figures are held against."""

from typing import Any

import pytest
import torch

from benchmarks.language.__main__ import (
    ALL,
    ARMS,
    HARD,
    SEEDS,
    SIZES,
    SOFT,
    SUPERVISED,
    WRITTEN,
    gains_of,
    judge,
    keeping_best,
    name,
    summary,
    whole,
)
from benchmarks.language.speeches import held_out
from benchmarks.language.teacher import AnsweredRows, certain
from training.steps.descent import StepProgress
from training.steps.distillation import TrainingBatch

SMALL = min(SIZES)
X = torch.arange(20).reshape(4, 5)
ASKED = TrainingBatch(
    X,
    torch.zeros(4, dtype=torch.int64),
    torch.rand(4, 4, 30, generator=torch.Generator().manual_seed(1)).half(),
    torch.ones(4, 4, 3).half(),
)


def found(**right: float) -> dict[str, Any]:
    """Runs in which an arm is so often right, others in a fifth of the places."""
    runs: dict[str, Any] = {"teacher": {"right": 0.4, "perplexity": 9.0}}
    for size in SIZES:
        for arm in (*ARMS, ALL):
            for seed in range(1, SEEDS + 1):
                told = right.get(arm.replace(" ", "_"), 0.2)
                runs[name(size, arm, seed)] = {"right": told, "perplexity": 2 / told, "step": 50}
    return runs


def gain(what: str, **right: float) -> dict[str, Any]:
    (row,) = (row for row in gains_of(SMALL, found(**right)) if row["gain"] == what)
    return row


def test_addresses_of_no_two_parts_are_the_same() -> None:
    texts = [str(at) for at in range(40)]
    read, chosen, unseen = held_out(texts)
    assert (len(read), len(chosen), len(unseen)) == (20, 4, 4)
    assert len({*read, *chosen, *unseen}) == 28


def test_rows_come_again_until_there_are_enough() -> None:
    rows = AnsweredRows(ASKED, torch.tensor([3, 1]), 6)
    assert len(rows) == 6
    batch = rows.take(torch.arange(6))
    assert torch.equal(batch.x, X[[3, 1, 3, 1, 3, 1]])
    assert torch.equal(batch.y, batch.x[:, 1:].flatten())
    assert torch.equal(batch.logits[:4], ASKED.logits[3].float())
    assert (rows.taught, rows.vector_width) == (True, 3)


def test_a_hard_answer_is_the_likeliest_token_alone() -> None:
    batch = AnsweredRows(ASKED, torch.arange(4), 4, hard=True).take(torch.arange(4))
    assert torch.equal(batch.logits.argmax(1), ASKED.logits.flatten(0, 1).argmax(1))
    assert torch.allclose(certain(torch.rand(3, 7)).softmax(1).max(1).values, torch.ones(3))


def test_the_best_weights_are_kept_of_eight_looks() -> None:
    net, values, best = torch.nn.Linear(1, 1), iter([3.0, 1.0, *[2.0] * 6]), {}
    watch = keeping_best(net, lambda: next(values), best)
    for done in range(1, 17):
        torch.nn.init.constant_(net.weight, float(done))
        watch(StepProgress(done, 16, 0.0, 0.0))
    assert (best["value"], best["step"]) == (1.0, 4)
    assert float(best["state"]["weight"]) == 4.0


def test_gains_by_text_and_by_probabilities_are_apart() -> None:
    arms = {SUPERVISED: 0.2, WRITTEN: 0.25, "written,_soft": 0.3, SOFT: 0.22}
    assert gain("semi-supervised: the teacher's text, as text", **arms)["points"]["mean"] == 5.0
    assert gain("soft targets, on the teacher's text too", **arms)["percent"]["mean"] == 20.0
    only = gain("soft targets over the text alone", **arms)
    assert only["points"]["mean"] == pytest.approx(2.0)
    assert only["percent_of_perplexity"]["mean"] == pytest.approx(100 * (1 - 2 / 0.22 / 10), 0.01)


def test_the_guides_percentage_is_missed_with_the_ceiling_beside_it() -> None:
    every = [row for size in SIZES for row in gains_of(size, found(soft=0.21, hard=0.2))]
    aims = {target.name: target for target in judge(every)}
    missed = aims["1,000 sequences: percent of accuracy that soft targets gain over hard ones"]
    assert missed.value == pytest.approx(5.0)
    assert not missed.met
    assert missed.why == (
        "beside hard targets, all of the text in place of 1,000 sequences, without a teacher,"
        " comes to +0.0%, and the teacher itself to +100.0%"
    )
    assert aims["1,000 sequences: points gained by soft targets over hard, low end"].met


def test_a_gain_that_is_missed_says_why() -> None:
    every = [row for size in SIZES for row in gains_of(size, found(soft=0.18, hard=0.2))]
    missed = [target for target in judge(every) if target.value is not None and not target.met]
    assert len(missed) == 3 * len(SIZES)
    assert all(target.why for target in missed)
    whys = {target.name: target.why for target in missed}
    over = "1,000 sequences: points gained by soft targets over hard, low end"
    assert whys[over].startswith("-2.0 ± 0.0 points: accuracy counts the likeliest token alone")


def test_a_size_counts_once_every_run_is_there() -> None:
    runs = found()
    del runs[name(10_000, SOFT, SEEDS)]
    assert whole(runs) == [1_000]
    (missing,) = (aim for aim in judge(gains_of(1_000, runs)) if "10,000" in aim.name)
    assert (missing.value, missing.met) == (None, False)


def test_every_arm_has_a_row_beside_the_teacher() -> None:
    rows = summary(found(**{HARD: 0.1}))
    assert len(rows) == 1 + len(SIZES) * (len(ARMS) + 1)
    assert {row["arm"] for row in rows} == {"the teacher", *ARMS, ALL}
