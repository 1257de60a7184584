"""Descriptions of models and their readers, and the scheduling of requests."""

import time
from contextlib import suppress

import grpc
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from tests.support.harness.gateway import PATIENCE, question, refusal, rows

PEOPLE = ("client", "publisher", "approver-1", "admin", "auditor")


@pytest.fixture
def stub(harness):
    return harness.inference()


@pytest.fixture
def staff(harness):
    return harness.inference("auditor")


def test_the_configuration_is_how_the_version_is_run(harness, stub):
    config = stub.ModelConfig(oip.ModelConfigRequest(name="digits"), timeout=60).config
    live = harness.gateway.engine.resolve("digits")
    batching = live.config.batching
    assert (config.name, config.platform, config.backend) == (
        "digits",
        "onnxruntime_onnx",
        "onnxruntime",
    )
    assert config.max_batch_size == batching.max_rows
    (taken,), (given) = config.input, config.output[0]
    assert (taken.name, taken.data_type, list(taken.dims)) == ("x", oip.TYPE_FP32, [64])
    assert (given.name, given.data_type, list(given.dims)) == ("logits", oip.TYPE_FP32, [10])
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    dynamic = config.dynamic_batching
    assert dynamic.max_queue_delay_microseconds == batching.delay_us
    assert (dynamic.priority_levels, dynamic.default_priority_level) == (2, 2)
    assert dynamic.default_queue_policy.default_timeout_microseconds == PATIENCE * 1e6
    assert dynamic.default_queue_policy.max_queue_size == batching.queue_rows
    assert not config.model_transaction_policy.decoupled
    assert config.parameters["digest"].string_value == live.digest


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("unknown", "", Reason.MODEL_UNKNOWN),
        ("../x", "", Reason.NAME_MALFORMED),
        ("", "", Reason.NAME_MALFORMED),
        ("digits", "one", Reason.VERSION_MALFORMED),
        ("digits", "2", Reason.VERSION_NOT_LIVE),
    ],
)
def test_a_configuration_that_there_is_not(stub, name, version, reason):
    request = oip.ModelConfigRequest(name=name, version=version)
    assert refusal(stub.ModelConfig, request, timeout=60) is reason


@pytest.mark.parametrize("ready", [False, True])
def test_the_index_lists_what_pointers_name(staff, ready):
    listed = staff.RepositoryIndex(oip.RepositoryIndexRequest(ready=ready), timeout=60).models
    entries = {(item.name, item.version): (item.state, item.reason) for item in listed}
    assert entries[("digits", "1")] == ("READY", "")
    assert ("digits", "2") not in entries


def test_there_is_one_repository_and_it_has_no_name(staff):
    request = oip.RepositoryIndexRequest(repository_name="other")
    assert refusal(staff.RepositoryIndex, request, timeout=60) is Reason.PARAMETER_MALFORMED


def test_clients_see_the_models_that_they_may_ask_but_no_verdicts_of_others(stub, staff):
    stub.ModelInfer(question("digits", rows()), timeout=60)
    (listed,) = stub.RepositoryIndex(oip.RepositoryIndexRequest(), timeout=60).models
    assert (listed.name, listed.version, listed.state) == ("digits", "1", "READY")
    request = oip.ModelStatisticsRequest()
    (full,) = staff.ModelStatistics(request, timeout=60).model_stats
    (own,) = stub.ModelStatistics(request, timeout=60).model_stats
    assert sum(full.verdicts.values()) >= 1
    assert full.history
    assert not own.verdicts
    assert not own.history
    full.ClearField("verdicts")
    full.ClearField("history")
    assert own == full


@pytest.mark.parametrize("person", PEOPLE)
def test_nobody_loads_or_unloads_from_outside(harness, person):
    stub, size = harness.inference(person), harness.gateway.recorder.size
    load = oip.RepositoryModelLoadRequest(model_name="digits")
    load.parameters["file:1/model.onnx"].bytes_param = b"anything"
    unload = oip.RepositoryModelUnloadRequest(model_name="digits")
    for method, request in (
        (stub.RepositoryModelLoad, load),
        (stub.RepositoryModelUnload, unload),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            method(request, timeout=60)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert refusal(method, request, timeout=60) is Reason.PROMOTION_ONLY
    assert "promote" in Reason.PROMOTION_ONLY.sentence
    assert harness.gateway.recorder.size == size + 4
    assert harness.gateway.engine.resolve("digits").version == 1


def test_only_implemented_extensions_are_named(stub):
    metadata = stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=60)
    assert set(metadata.extensions) == {"model_configuration", "schedule_policy", "statistics"}


def test_a_request_may_shorten_its_time_and_not_lengthen_it(stub):
    request = question("digits", rows())
    request.parameters["timeout"].int64_param = 1
    assert refusal(stub.ModelInfer, request, timeout=60) is Reason.DEADLINE_TOO_SHORT
    request.parameters["timeout"].int64_param = 2**63 - 1
    request.parameters["priority"].uint64_param = 1
    assert stub.ModelInfer(request, timeout=60).outputs[0].name == "logits"


def test_neither_deadline_nor_timeout_lengthens_what_is_configured(harness, stub, monkeypatch):
    granted = []
    engine = type(harness.gateway.engine)
    infer_all = engine.infer_all

    def spy(self, live, requests):
        [(x, options)] = requests
        granted.append(options.deadline - time.monotonic())
        return infer_all(self, live, [(x, options._replace(deadline=None))])

    monkeypatch.setattr(engine, "infer_all", spy)
    request, most = question("digits", rows()), PATIENCE
    for timeout, seconds, longest in (
        (None, None, most),
        (90e6, 90, most),
        (90e6, 3, 3),
        (2e6, 90, 2),
    ):
        if timeout is not None:
            request.parameters["timeout"].int64_param = int(timeout)
        del granted[:]
        # On a loaded machine, some of it may have gone by the time that it is asked for.
        while not granted or max(granted) < longest - 1:
            assert len(granted) < 20
            with suppress(grpc.RpcError):
                stub.ModelInfer(request, timeout=seconds)
        # gRPC rounds a deadline up by some milliseconds on its way.
        assert max(granted) < longest + 0.1
