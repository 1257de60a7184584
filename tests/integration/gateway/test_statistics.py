"""ModelStatistics: what was really done, and how long it really took."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from inference.screening.detector import Detector, Verdict
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from tests.support.harness.gateway import question, refusal, rows


@pytest.fixture
def stub(harness):
    return harness.inference()


@pytest.fixture
def staff(harness):
    return harness.inference("auditor")


def statistics(staff):
    request = oip.ModelStatisticsRequest(name="digits", version="1")
    (found,) = staff.ModelStatistics(request, timeout=60).model_stats
    return found


def sizes(found):
    return {item.batch_size: item.compute_infer.count for item in found.batch_stats}


def test_the_statistics_are_what_was_done_and_how_long_it_took(stub, staff):
    before, began = statistics(staff), time.time_ns()
    for count in (1, 1, 5):
        stub.ModelInfer(question("digits", rows(count=count)), timeout=60)
    wrong = question("digits", rows())
    wrong.inputs[0].name = "y"
    assert refusal(stub.ModelInfer, wrong, timeout=60) is Reason.TENSOR_NAME
    after, took = statistics(staff), time.time_ns() - began
    assert after.inference_count - before.inference_count == 7
    assert after.execution_count - before.execution_count == 3
    grown = {
        size: count - sizes(before).get(size, 0)
        for size, count in sizes(after).items()
        if count != sizes(before).get(size, 0)
    }
    assert grown == {1: 2, 5: 1}
    assert began // 1_000_000 <= after.last_inference <= (began + took) // 1_000_000
    now, then = after.inference_stats, before.inference_stats
    spent = {}
    for name, count in {
        "success": 3,
        "fail": 1,
        "queue": 3,
        "compute_input": 3,
        "compute_infer": 3,
        "compute_output": 3,
    }.items():
        assert getattr(now, name).count - getattr(then, name).count == count, name
        spent[name] = getattr(now, name).ns - getattr(then, name).ns
        assert 0 < spent[name] < took, name
    # One after another: the parts of a request fit into it.
    parts = spent["queue"] + spent["compute_input"] + spent["compute_infer"]
    assert parts + spent["compute_output"] < spent["success"]
    assert (now.cache_hit.count, now.cache_miss.count) == (0, 0)
    assert not after.memory_usage


def test_an_answer_that_was_withheld_was_run_and_failed(stub, staff, monkeypatch):
    before = statistics(staff)
    monkeypatch.setattr(Detector, "verdict", lambda *_: Verdict.ADVERSARIAL)
    reason = refusal(stub.ModelInfer, question("digits", rows()), timeout=60)
    assert reason is Reason.ADVERSARIAL_INPUT
    after = statistics(staff)
    assert after.inference_stats.fail.count == before.inference_stats.fail.count + 1
    assert after.inference_stats.success.count == before.inference_stats.success.count
    assert after.execution_count == before.execution_count + 1
    assert sum(after.verdicts.values()) == sum(before.verdicts.values()) + 1


def test_the_statistics_of_everything(harness, staff):
    listed = staff.ModelStatistics(oip.ModelStatisticsRequest(), timeout=60).model_stats
    live = {(live.model, str(live.version)) for live in harness.gateway.engine.live().values()}
    assert {(item.name, item.version) for item in listed} == live


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("unknown", "", Reason.MODEL_UNKNOWN),
        ("../x", "", Reason.NAME_MALFORMED),
        ("", "1", Reason.NAME_MALFORMED),
        ("digits", "one", Reason.VERSION_MALFORMED),
        ("digits", "2", Reason.VERSION_NOT_LIVE),
    ],
)
def test_statistics_that_there_are_not(staff, name, version, reason):
    request = oip.ModelStatisticsRequest(name=name, version=version)
    assert refusal(staff.ModelStatistics, request, timeout=60) is reason


def test_repeated_rows_count_as_rows(stub, staff):
    before = statistics(staff)
    stub.ModelInfer(question("digits", np.repeat(rows(), 64, axis=0)), timeout=60)
    after = statistics(staff)
    assert after.inference_count == before.inference_count + 64
    assert after.execution_count == before.execution_count + 1


def test_the_numbers_agree_with_one_another_under_load(stub, staff):
    before = statistics(staff)
    threads, turns, refused = 12, 15, set()

    def ask(thread):
        answered = 0
        for turn in range(turns):
            request = question("digits", rows(count=1 + turn % 3))
            request.parameters["priority"].int64_param = thread % 3
            if turn % 5 == 4:
                request.parameters["timeout"].int64_param = 1
            try:
                stub.ModelInfer(request, timeout=60)
                answered += 1
            except grpc.RpcError as error:
                refused.add(reason_of(error))
        return answered

    with ThreadPoolExecutor(threads) as pool:
        answered = sum(pool.map(ask, range(threads)))
    assert refused == {Reason.DEADLINE_TOO_SHORT}
    after = statistics(staff)
    grown = {
        name: getattr(after.inference_stats, name).count
        - getattr(before.inference_stats, name).count
        for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
    }
    assert answered == threads * turns * 4 // 5
    assert grown == {
        "success": answered,
        "fail": threads * turns // 5,
        "queue": answered,
        "compute_input": answered,
        "compute_infer": answered,
        "compute_output": answered,
    }
    executions = after.execution_count - before.execution_count
    assert executions <= answered
    assert sum(sizes(after).values()) - sum(sizes(before).values()) == executions
    by_size = sum(size * count for size, count in sizes(after).items())
    assert by_size == after.inference_count
    turned = sum(1 + turn % 3 for turn in range(turns) if turn % 5 != 4)
    assert after.inference_count - before.inference_count == threads * turned
