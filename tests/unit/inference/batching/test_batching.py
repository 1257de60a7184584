"""How batching is configured: read strictly, and only ever tightened."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.batching.limits import BatcherLimits, Batching, BatchingBounds, OperatorBounds
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError, read_settings

SIGNED = Batching(64, 300, 4096, (8, 32, 64), 2_000_000, 2, 3)
PLAIN = Batching(64, 300, 4096)


def test_what_is_not_stated_is_absent() -> None:
    assert PLAIN.encode() == {"max_rows": 64, "delay_us": 300, "queue_rows": 4096}
    assert Batching.decode(PLAIN.encode()) == PLAIN
    assert Batching.decode(SIGNED.encode()) == SIGNED


@pytest.mark.parametrize(
    "change",
    [
        {"surplus": 1},
        {"preferred_rows": []},
        {"preferred_rows": [8, 4]},
        {"preferred_rows": [8, 8]},
        {"preferred_rows": [0, 8]},
        {"preferred_rows": [65]},
        {"preferred_rows": 8},
        {"timeout_us": 0},
        {"timeout_us": 3_600_000_001},
        {"priority_levels": 3},
        {"instances": 0},
        {"instances": True},
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as refused:
        Batching.decode(PLAIN.encode() | change)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_the_operator_tightens_for_all_models_and_for_one() -> None:
    everyone = BatchingBounds(max_rows=32, delay_us=1, timeout_us=5_000_000)
    digits = BatchingBounds("digits", queue_rows=100, priority_levels=1, run_seconds=3)
    bounds = OperatorBounds((everyone, digits))
    assert bounds.tighten("digits", SIGNED) == Batching(32, 1, 100, (8, 32), 2_000_000, 1, 3)
    assert bounds.tighten("other", PLAIN) == Batching(32, 1, 4096, (), 5_000_000)
    assert (bounds.run_seconds("digits"), bounds.run_seconds("other")) == (3, 30)


def test_a_shorter_queue_makes_batches_as_short() -> None:
    tight = BatchingBounds(queue_rows=10).tighten(SIGNED)
    assert (tight.max_rows, tight.queue_rows, tight.preferred_rows) == (10, 10, (8,))


_COUNT = st.integers(0, 2**20)


@given(
    st.builds(
        BatchingBounds,
        model=st.just(""),
        max_rows=_COUNT,
        delay_us=_COUNT,
        queue_rows=_COUNT,
        timeout_us=_COUNT,
        wait_us=_COUNT,
        priority_levels=st.integers(0, 2),
        instances=st.integers(0, 1024),
    ),
    st.sampled_from([PLAIN, SIGNED, replace(SIGNED, delay_us=0)]),
)
def test_no_bound_is_ever_loosened(bounds: BatchingBounds, signed: Batching) -> None:
    tight = bounds.tighten(signed)
    for name in ("max_rows", "delay_us", "queue_rows"):
        assert getattr(tight, name) <= getattr(signed, name)
    for name in ("timeout_us", "priority_levels", "instances", "wait_us"):
        stated = getattr(signed, name)
        assert not stated or 0 < getattr(tight, name) <= stated
    for item in fields(BatchingBounds):
        stated = getattr(bounds, item.name)
        if isinstance(stated, int) and stated and item.name != "delay_us":
            assert getattr(tight, item.name) <= stated
    assert tight.delay_us <= (bounds.delay_us or signed.delay_us)


def test_limits_follow_from_it_and_from_the_machine() -> None:
    signed = BatcherLimits(64, 4096, 0.0003, 3, (8, 32, 64), 2.0, 2, wait=0.5)
    assert BatcherLimits.of(SIGNED, 8) == signed
    assert BatcherLimits.of(PLAIN, 8) == BatcherLimits(64, 4096, 0.0003, 8, wait=0.5)


def test_the_longest_wait_is_the_publishers_or_the_operators_if_shorter() -> None:
    for signed, operator, seconds in (
        (0, 0, 0.5),
        (0, 3_000_000, 3.0),
        (2_000_000, 3_000_000, 2.0),
    ):
        batching = BatchingBounds(wait_us=operator).tighten(replace(PLAIN, wait_us=signed))
        assert BatcherLimits.of(Batching.decode(batching.encode()), 1).wait == seconds


def sections(folder: Path, text: str) -> OperatorBounds:
    from dataclasses import make_dataclass

    kind = make_dataclass("Config", [("batching", tuple[BatchingBounds, ...])], frozen=True)
    (folder / "it.toml").write_text(text)
    return OperatorBounds(read_settings(folder / "it.toml", kind).batching)  # type: ignore[attr-defined]


def test_bounds_are_sections_of_a_file(tmp_path: Path) -> None:
    text = '[[batching]]\nmax_rows = 8\n[[batching]]\nmodel = "digits"\nrun_seconds = 2.5\n'
    found = sections(tmp_path, text)
    assert found.tighten("digits", PLAIN).max_rows == 8
    assert found.run_seconds("digits") == 2.5


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('[[batching]]\nmodel = "a"\n[[batching]]\nmodel = "a"', "twice"),
        ("[[batching]]\n[[batching]]", "twice"),
        ('[[batching]]\nmodel = "Not A Name"', "not of the form"),
        ("[[batching]]\npriority_levels = 3", "at most"),
        ("[[batching]]\ninstances = 1025", "at most"),
        ("[[batching]]\nmax_rows = 0", "positive"),
        ("[[batching]]\npreferred = 1", "no setting"),
        ("[batching]\nmax_rows = 1", "[[batching]]"),
    ],
)
def test_sections_that_say_something_else_are_refused(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(ConfigError) as refused:
        sections(tmp_path, text)
    assert part in str(refused.value)
