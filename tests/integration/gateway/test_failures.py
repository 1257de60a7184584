"""What happens when something breaks: bytes altered, a version revoked, disk full, database gone.

Each test has a house of its own, since it breaks it.
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
from tests.support.house import House, question, refusal, rows, running
from tests.support.rollouts import await_true


@pytest.fixture
def house(tmp_path):
    with running(tmp_path / "state", "digits-1") as house:
        house.promote("digits", 1)
        yield house


def flip_byte(house: House, version: int, path: str) -> None:
    name = f"models/digits/versions/{version}"
    found = house.registry("auditor").GetVersion(messages.GetVersionRequest(name=name)).version
    digest = Manifest.decode(found.manifest).entry(path).digest.removeprefix("sha256:")
    stored = house.state / "artifacts" / digest[:2] / digest[2:]
    stored.chmod(0o600)
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)


def ask(house: House) -> str:
    return house.inference().ModelInfer(question("digits", rows()), timeout=60).model_version


def test_an_altered_version_cannot_be_promoted(house):
    house.publish("digits-2", "digits")
    proposal = house.approved("digits", 2)
    flip_byte(house, 2, "model.int8.onnx")
    assert refusal(house.governance("admin").promote, proposal, "test") is Reason.VERSION_ALTERED
    assert ask(house) == "1"


def test_an_altered_version_is_not_loaded_and_an_approver_notices(house):
    flip_byte(house, 1, "detector.json")
    house.stop()
    house.start()
    assert refusal(ask, house) is Reason.VERSION_NOT_LIVE
    proposal = house.propose("digits", 1)
    reason = refusal(house.governance("approver-1").review, proposal.digest, lambda path: None)
    assert reason is Reason.VERSION_ALTERED


def test_a_revoked_version_stops_and_cannot_come_back(house):
    house.publish("digits-2", "digits")
    proposal = house.approved("digits", 2)
    admin = house.governance("admin")
    admin.revoke("digits", 2, "trained on wrong data")
    assert refusal(admin.promote, proposal, "test") is Reason.VERSION_REVOKED
    admin.revoke("digits", 1, "test")
    await_true(lambda: not house.gateway.engine.live())
    assert refusal(ask, house) is Reason.VERSION_REVOKED


def test_a_full_disk_fails_the_request_and_leaves_nothing_half_written(house):
    """SQLite itself says that the disk is full: its file may not grow by another page."""
    stub = house.inference()
    ask(house)
    answers = house.gateway.store.answers
    engine = answers.database.engine
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    full = functools.partial(limit_pages, pages)
    event.listen(engine, "checkout", full)
    reasons = Counter()
    for _ in range(60):
        try:
            stub.ModelInfer(question("digits", rows()), timeout=60)
        except grpc.RpcError as error:
            reasons[reason_of(error)] += 1
    assert set(reasons) == {Reason.RECORD_FAILED}
    size = house.gateway.recorder.size
    event.remove(engine, "checkout", full)
    event.listen(engine, "checkout", functools.partial(limit_pages, 1_000_000))
    ask(house)
    assert house.gateway.recorder.size == size + 1
    answers.reader.verify()


def limit_pages(pages, connection, _record, _proxy):
    connection.execute(f"PRAGMA max_page_count={pages}")


def test_with_the_registry_gone_answers_go_on_and_nothing_can_change(house):
    database = house.state / "registry.db"
    for path in (database, *house.state.glob("registry.db-*")):
        path.rename(path.with_name(f"gone-{path.name}"))
    database.mkdir()
    house.gateway.store.registry.close()
    assert ask(house) == "1"
    time.sleep(0.1)
    assert ask(house) == "1"
    list_models = house.registry("auditor").ListModels
    assert refusal(list_models, messages.ListModelsRequest()) is Reason.REGISTRY_UNAVAILABLE


def test_with_the_answer_log_gone_no_answer_leaves(house):
    size = house.gateway.recorder.size
    answers = house.state / "answers.db"
    for path in (answers, *house.state.glob("answers.db-*")):
        path.rename(path.with_name(f"gone-{path.name}"))
    answers.mkdir()
    house.gateway.store.answers.database.close()
    assert refusal(ask, house) is Reason.RECORD_FAILED
    assert house.gateway.recorder.size == size


def test_a_restart_finds_what_was_recorded(house):
    for _ in range(5):
        ask(house)
    size = house.gateway.recorder.size
    house.stop()
    house.start()
    assert house.gateway.recorder.size == size
    assert ask(house) == "1"


def test_stopping_under_load_loses_nothing_that_was_answered(house):
    """Every answer that a client got is in the log; the others were refused as unavailable."""
    stub = house.inference()
    before = house.gateway.recorder.size
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
    gateway = house.gateway
    gateway.stop()
    stopping.set()
    for thread in threads:
        thread.join()
    house.gateway = None
    assert answered
    # gRPC's core itself cancels a call that arrives while its transport closes.
    assert set(failures) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert gateway.recorder.size - before == len(answered)
