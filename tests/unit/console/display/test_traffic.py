"""Series of a version's traffic, from the samples of its counts, and the charts of them."""

import re
from itertools import pairwise

from console.display.charts import Line, lines
from console.reading.versions import series_of
from sealgate.oip.grpc_service_pb2 import StatisticDuration, StatisticsSample


def sample(seconds, answered, ns, refused=0, drift=None):
    return StatisticsSample(
        time=1000 * seconds,
        answered=StatisticDuration(count=answered, ns=ns),
        refused={"INPUT_ADVERSARIAL": refused} if refused else {},
        verdicts={"clean": answered, "adversarial": refused},
        drift=drift,
    )


def test_rates_and_means_are_between_one_sample_and_the_next():
    found = series_of(
        [sample(0, 0, 0), sample(10, 20, 40_000_000, 2), sample(20, 20, 40_000_000, 5, 1.5)]
    )
    assert found.times == (10, 20)
    assert found.answered == (2, 0)
    assert found.milliseconds == (2, None)
    assert found.refused == (Line("input adversarial", (12, 18)),)
    assert [line.values for line in found.verdicts] == [(120, 0), (0, 0), (12, 18)]
    assert found.drift == (None, 1.5)


def test_two_samples_are_no_line_yet_and_counts_that_begin_again_are_left_out():
    assert series_of([sample(0, 0, 0), sample(10, 5, 5)]) is None
    restarted = [sample(0, 9, 9), sample(10, 2, 2), sample(20, 3, 3), sample(30, 4, 4)]
    assert series_of(restarted).times == (20, 30)


def test_a_chart_says_in_words_what_it_draws_and_breaks_where_nothing_is_known():
    drawn = lines("Latency", [0, 10, 20, 30], [Line("mean", (1.0, None, 4.0, 2.0))], limit=3)
    assert 'aria-label="Latency. mean: 2 at last, at most 4"' in drawn
    assert drawn.count("M") >= 3
    assert 'class="limit"' in drawn
    assert "00:00" in drawn


def test_names_in_charts_are_escaped():
    assert "<script>" not in lines("a", [0, 1], [Line("<script>", (1, 2))])


def test_the_names_of_lines_do_not_overlap_and_go_on_in_a_second_row():
    named = [
        Line(name, (1, 2)) for name in ("adversarial input", "tensor bytes", *("x" * 18, "y" * 18))
    ]
    drawn = lines("a", [0, 1], named)
    places = [
        tuple(map(int, found))
        for found in re.findall(r'<text class="small" x="(\d+)" y="(\d+)">[atxy]', drawn)
    ]
    assert len({y for _, y in places}) == 2
    assert all(
        after[0] - before[0] > 90 or after[1] > before[1] for before, after in pairwise(places)
    )


def test_a_line_alone_needs_no_name_and_minutes_alone_no_seconds():
    drawn = lines("Latency", [0, 20, 45], [Line("mean", (1, 2, 3))])
    assert ">mean<" not in drawn
    assert ">00:00:00<" in drawn
    assert ">00:00:45 UTC<" in drawn
