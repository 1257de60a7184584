"""With every connection to the registry in use: a reason within bounded time, and answers go on."""

import time
from contextlib import ExitStack

import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import question, refusal, rows, running


@pytest.fixture
def harness(tmp_path):
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness


def take_all(database, stack):
    """Holds connections until none has been free for as long as anybody waits."""
    while True:
        try:
            stack.enter_context(database.reading())
        except SealgateError:
            return


def test_a_full_pool_has_its_reason_and_passes(harness):
    database = harness.gateway.store.registry.ledger.database
    registry = harness.registry("auditor")
    with ExitStack() as stack:
        take_all(database, stack)
        began = time.monotonic()
        request = messages.ListModelsRequest()
        assert refusal(registry.ListModels, request, timeout=60) is Reason.REGISTRY_UNAVAILABLE
        assert time.monotonic() - began < 50
        answer = harness.inference().ModelInfer(question("digits", rows()), timeout=60)
        assert answer.model_version == "1"
    models = registry.ListModels(messages.ListModelsRequest(), timeout=60).models
    assert [model.name for model in models] == ["models/digits"]
    # A stream that followed the registry meanwhile continues too.
    harness.governance("admin").promote(harness.approved("digits", 1), "again")
    stream = registry.WatchChanges(messages.WatchChangesRequest(start=0), timeout=60)
    moves = (m for m in stream if m.change.kind == messages.CHANGE_KIND_POINTER_MOVED)
    assert [next(moves).change.pointer.sequence for _ in range(2)] == [1, 2]
    stream.cancel()
