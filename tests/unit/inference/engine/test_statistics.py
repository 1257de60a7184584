"""Statistics: what they add up to, from one thread and from many."""

from concurrent.futures import ThreadPoolExecutor

from inference.engine.statistics import BatchPhases, Duration, Executions, RequestEnding, Statistics


def test_a_version_that_has_done_nothing_says_so() -> None:
    report = Statistics().report(Duration())
    assert {report.success, report.fail, report.queue} == {Duration()}
    assert (report.executions, report.inferences, report.last_ms) == (0, 0, 0)
    assert report.by_size == {}


def test_a_batch_counts_once_by_its_size_and_once_for_each_request() -> None:
    statistics = Statistics()
    statistics.executed(requests=3, rows=5, phases=BatchPhases(1, 20, 300))
    statistics.executed(requests=1, rows=5, phases=BatchPhases(2, 30, 400))
    statistics.executed(requests=1, rows=1, phases=BatchPhases(1, 1, 1))
    statistics.ended(RequestEnding("clean", ""), 70)
    statistics.ended(RequestEnding("clean", ""), 80)
    statistics.ended(RequestEnding("clean", "RECORD_FAILED"), 9)
    statistics.ran(300, 40)
    statistics.ran(500, 60)
    statistics.screened(first=6, graph=1)
    statistics.screened(first=0, graph=4)
    report = statistics.report(Duration(5, 44))
    assert (report.success, report.fail) == (Duration(2, 150), Duration(1, 9))
    assert report.verdicts == {"clean": 3}
    assert (report.screening, report.inference) == (Duration(2, 800), Duration(2, 100))
    assert (report.first, report.graph) == (6, 5)
    assert report.queue == Duration(5, 44)
    assert report.by_request == Executions(5, BatchPhases(6, 91, 1301))
    assert report.by_size == {
        1: Executions(1, BatchPhases(1, 1, 1)),
        5: Executions(2, BatchPhases(3, 50, 700)),
    }
    assert (report.executions, report.inferences) == (3, 11)


def test_nothing_is_lost_between_threads() -> None:
    statistics = Statistics()

    def work(_: int) -> None:
        for turn in range(500):
            statistics.ended(RequestEnding("clean", ""), 1)
            statistics.ended(RequestEnding("", "QUEUE_FULL"), 2)
            statistics.executed(2, 1 + turn % 3, BatchPhases(1, 2, 3))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    report = statistics.report(Duration())
    assert (report.success, report.fail) == (Duration(4000, 4000), Duration(4000, 8000))
    assert report.by_request == Executions(8000, BatchPhases(8000, 16000, 24000))
    assert report.executions == 4000
