"""A gateway under failures: altered bytes, a revoked version, a full disk, a lost database.

Each test has a gateway of its own, since it breaks it.
"""

import functools
import threading
import time
from collections import Counter

import grpc
import pytest
from sqlalchemy import event

from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.trust.statements import Manifest
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows, running
from tests.support.harness.rollouts import await_true

pytestmark = pytest.mark.slow


@pytest.fixture
def harness(tmp_path):
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness


def flip_byte(harness: GatewayHarness, version: int, path: str) -> None:
    name = f"models/digits/versions/{version}"
    found = harness.registry("auditor").GetVersion(messages.GetVersionRequest(name=name)).version
    digest = Manifest.decode(found.manifest).entry(path).digest.removeprefix("sha256:")
    stored = harness.state / "artifacts" / digest[:2] / digest[2:]
    stored.chmod(0o600)
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)


def ask(harness: GatewayHarness) -> str:
    return harness.inference().ModelInfer(question("digits", rows()), timeout=60).model_version


def test_an_altered_version_cannot_be_promoted(harness):
    harness.publish("digits-hardened", "digits")
    proposal = harness.approved("digits", 2)
    flip_byte(harness, 2, "model.int8.onnx")
    assert refusal(harness.governance("admin").promote, proposal, "test") is Reason.VERSION_ALTERED
    assert ask(harness) == "1"


def test_an_altered_version_is_not_loaded_and_an_approver_notices(harness):
    flip_byte(harness, 1, "detector.json")
    harness.stop()
    harness.start()
    assert refusal(ask, harness) is Reason.VERSION_NOT_LIVE
    proposal = harness.propose("digits", 1)
    reason = refusal(harness.governance("approver-1").review, proposal.digest, lambda path: None)
    assert reason is Reason.VERSION_ALTERED


def test_a_revoked_version_stops_and_cannot_come_back(harness):
    harness.publish("digits-hardened", "digits")
    proposal = harness.approved("digits", 2)
    admin = harness.governance("admin")
    admin.revoke("digits", 2, "trained on wrong data")
    assert refusal(admin.promote, proposal, "test") is Reason.VERSION_REVOKED
    admin.revoke("digits", 1, "test")
    await_true(lambda: not harness.gateway.engine.live())
    assert refusal(ask, harness) is Reason.VERSION_REVOKED


def test_a_full_disk_fails_the_request_and_leaves_nothing_half_written(harness):
    """SQLite itself says that the disk is full: its file may not grow by another page."""
    stub = harness.inference()
    ask(harness)
    answers = harness.gateway.store.answers
    engine = answers.database.engine
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    full = functools.partial(limit_pages, pages)
    event.listen(engine, "checkout", full)
    with answers.database.appending() as transaction:
        # Which keeps its connection.
        transaction.run_text(f"PRAGMA max_page_count={pages}")
        transaction.commit()
    reasons = Counter()
    for _ in range(60):
        try:
            stub.ModelInfer(question("digits", rows()), timeout=60)
        except grpc.RpcError as error:
            reasons[reason_of(error)] += 1
    assert set(reasons) == {Reason.RECORD_FAILED}
    size = harness.gateway.recorder.size
    event.remove(engine, "checkout", full)
    event.listen(engine, "checkout", functools.partial(limit_pages, 1_000_000))
    ask(harness)
    assert harness.gateway.recorder.size == size + 1
    answers.reader.verify()


def limit_pages(pages, connection, _record, _proxy):
    connection.execute(f"PRAGMA max_page_count={pages}")


def test_with_the_registry_gone_answers_go_on_and_nothing_can_change(harness):
    database = harness.state / "registry.db"
    for path in (database, *harness.state.glob("registry.db-*")):
        path.rename(path.with_name(f"gone-{path.name}"))
    database.mkdir()
    harness.gateway.store.registry.close()
    assert ask(harness) == "1"
    time.sleep(0.1)
    assert ask(harness) == "1"
    list_models = harness.registry("auditor").ListModels
    assert refusal(list_models, messages.ListModelsRequest()) is Reason.REGISTRY_UNAVAILABLE


def test_with_the_answer_log_gone_no_answer_leaves(harness):
    size = harness.gateway.recorder.size
    answers = harness.state / "answers.db"
    for path in (answers, *harness.state.glob("answers.db-*")):
        path.rename(path.with_name(f"gone-{path.name}"))
    answers.mkdir()
    harness.gateway.store.answers.database.close()
    assert refusal(ask, harness) is Reason.RECORD_FAILED
    assert harness.gateway.recorder.size == size


def test_a_restart_finds_what_was_recorded(harness):
    for _ in range(5):
        ask(harness)
    size = harness.gateway.recorder.size
    harness.stop()
    harness.start()
    assert harness.gateway.recorder.size == size
    assert ask(harness) == "1"


def test_stopping_under_load_loses_nothing_that_was_answered(harness):
    """Every answer that a client got is in the log; the others were refused as unavailable."""
    stub = harness.inference()
    before = harness.gateway.recorder.size
    # Lists, to which threads append at once: a count that two of them raise may miss one.
    answered, failures = [], []
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            try:
                answered.append(stub.ModelInfer(question("digits", rows()), timeout=60))
            except grpc.RpcError as error:
                failures.append(error.code())
                time.sleep(0.01)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    await_true(lambda: len(answered) > 20 or bool(failures))
    gateway = harness.gateway
    gateway.stop()
    stopping.set()
    for thread in threads:
        thread.join()
    harness.gateway = None
    assert answered
    # gRPC's core itself cancels a call that arrives while its transport closes.
    assert set(failures) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert gateway.recorder.size - before == len(answered)
