"""An engine whose graphs run in replicas: the same answers, and every replica checks for itself."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from inference.backends.ray.engine_host import ReplicatedVersion
from inference.backends.ray.replica import RemoteRefusal, VersionAddress
from inference.batching.batcher import Batcher
from inference.engine.version_contents import DETECTOR, INT8
from inference.screening.detector import Detector
from inference.server.services import write_load
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PrivateKey
from sealgate.trust.statements import Pointer, sign_statement
from sealgate.trust.statements.covering import EngineCounts
from sealgate.v1 import engine_pb2
from sealgate.v1.engine_pb2_grpc import EngineServiceStub
from tests.support.builders.models.text_models import config as text_config
from tests.support.builders.models.version_files import clean_rows
from tests.support.fakes.registry import UncheckedRegistry, UncheckedVersion
from tests.support.harness.engine import engine_harness
from tests.support.harness.engine_outcomes import BETTER, FILES, MODEL, resolved
from tests.support.harness.gateway import refusal
from tests.support.harness.replicated_engine import (
    ReplicatedEngineHarness,
    replicated_engine_harness,
)
from tests.support.harness.rollouts import await_true

Array = np.ndarray[Any, Any]


@pytest.fixture
def harness(registry: UncheckedRegistry, tmp_path: Path) -> Iterator[ReplicatedEngineHarness]:
    with replicated_engine_harness(registry, tmp_path) as harness:
        yield harness


def promoted(harness: ReplicatedEngineHarness, files: dict[str, bytes] = FILES) -> UncheckedVersion:
    made = harness.publish(files)
    harness.registry.promote(made)
    harness.show()
    return made


def address(made: UncheckedVersion) -> VersionAddress:
    return VersionAddress("digits", made.number, made.digest)


def asked_of_each(harness: ReplicatedEngineHarness, made: UncheckedVersion) -> list[object]:
    """Call each replica directly, past the engine in front: a reason, or `answered`."""
    x = clean_rows(MODEL, 1)
    said = [each.infer(0, address(made), x, 60.0) for each in harness.replicas]
    return [each.reason if isinstance(each, RemoteRefusal) else "answered" for each in said]


def test_answers_are_those_of_an_engine_that_runs_graphs_itself(
    harness: ReplicatedEngineHarness, tmp_path: Path
) -> None:
    made, x = promoted(harness), clean_rows(MODEL, 7)
    (tmp_path / "plain").mkdir()
    with engine_harness(harness.registry, tmp_path / "plain") as plain:
        for data in FILES.values():
            plain.store.put([data], len(data), sha256(data))
        plain.show()
        expected = plain.ask(made, x)
    assert harness.ask(made, x) == expected


def together(asking: Callable[[Array], Any], batcher: Batcher[Array, Any], x: Array) -> list[Any]:
    """Return the answer to each row of `x`, sent by itself while the others wait as well."""
    batcher.free_lanes -= (lanes := batcher.free_lanes)
    with ThreadPoolExecutor(len(x)) as threads:
        asked = [threads.submit(asking, row[None]) for row in x]
        await_true(lambda: batcher.queue.rows == len(x))
        batcher.pass_on([])
        found = [each.result() for each in asked]
    for _ in range(lanes - 1):
        batcher.pass_on([])
    return found


def test_requests_that_wait_together_are_handed_on_as_one(harness: ReplicatedEngineHarness) -> None:
    made, x = promoted(harness), clean_rows(MODEL, 12)
    alone = [harness.ask(made, row[None]) for row in x]
    harness.batches.clear()
    ready: Any = harness.engine.resolve("digits").ready
    batcher = ready.batcher
    assert together(lambda row: harness.ask(made, row), batcher, x) == alone
    assert sum(harness.batches) == len(x)
    assert len(harness.batches) <= 4


def test_texts_are_handed_on_one_by_one() -> None:
    """Which of them share a batch, the replica knows, which cuts them."""

    class Line:
        batches: ClassVar[list[int]] = []

        def infer(self, to: VersionAddress, x: Array) -> Array:
            self.batches.append(len(x))
            return x

    to = VersionAddress("letters", 1, "sha256:" + "0" * 64)
    version = ReplicatedVersion(Line(), to, text_config(), Detector.decode(FILES[DETECTOR]), 2)
    texts = np.array([["one"], ["two"], ["three"]], object)
    answers = together(version.submit, version.batcher, texts)
    assert [answer.tolist() for answer in answers] == [[["one"]], [["two"]], [["three"]]]
    assert Line.batches == [1, 1, 1]


def test_what_was_run_is_counted_once_and_signed(harness: ReplicatedEngineHarness) -> None:
    made = promoted(harness)
    harness.replicas.append(harness.new_replica())
    for _ in range(4):
        harness.ask(made, clean_rows(MODEL, 3))
    stub = EngineServiceStub(harness.channel)
    envelope = Envelope.decode(stub.GetCounts(engine_pb2.GetCountsRequest()).envelope)
    counts = EngineCounts.decode(envelope.payload)
    assert counts.counts == ((made.digest, 4, 12),)
    costs = stub.GetCosts(
        engine_pb2.GetCostsRequest(model="digits", version="1", digest=made.digest)
    )
    assert costs.place == "ray"
    assert [batch.rows for batch in costs.batches][:3] == [1, 2, 4]


class TestReplicas:
    def test_one_that_starts_later_knows_everything(self, harness: ReplicatedEngineHarness) -> None:
        promoted(harness)
        made = promoted(harness, BETTER)
        harness.replicas[:] = [harness.new_replica()]
        assert asked_of_each(harness, made) == ["answered"]
        assert harness.ask(made, clean_rows(MODEL, 1)).model_version == "2"

    def test_one_that_missed_a_load_reads_it_before_it_answers(
        self, harness: ReplicatedEngineHarness
    ) -> None:
        promoted(harness)
        harness.deaf = [harness.new_replica()]
        harness.replicas += harness.deaf
        made = promoted(harness, BETTER)
        assert asked_of_each(harness, made) == ["answered", "VERSION_NOT_LIVE"]
        for _ in harness.replicas:
            assert harness.ask(made, clean_rows(MODEL, 1)).model_version == "2"
        assert asked_of_each(harness, made) == ["answered", "answered"]

    def test_one_believes_nothing_that_is_on_the_board(
        self, harness: ReplicatedEngineHarness
    ) -> None:
        made = harness.publish(FILES)
        bundle = harness.registry.promote(made)
        pointer = Pointer.decode(bundle.pointer.payload)
        forged = replace(bundle, pointer=sign_statement(pointer, PrivateKey.generate()))
        harness.registry.bundles["digits", "production"] = forged
        load = replace(harness.load(), pointer=forged, freshness=harness.registry.refresh())
        harness.board.put(1, write_load(load).SerializeToString())
        harness.replicas[:] = [harness.new_replica()]
        assert harness.replicas[0].follow(1) == harness.replicas[0].refused[1]
        assert harness.replicas[0].refused[1].reason == "SIGNER_MISMATCH"
        assert asked_of_each(harness, made) == ["VERSION_NOT_LIVE"]

    def test_one_that_cannot_follow_keeps_the_version_out(
        self, harness: ReplicatedEngineHarness
    ) -> None:
        first = promoted(harness)
        made = harness.publish(BETTER)
        harness.registry.promote(made)
        # The replica's files alone are others: the engine in front reads neither graph.
        harness.path(BETTER[INT8]).write_bytes(b"another")
        assert refusal(harness.show) is Reason.VERSION_ALTERED
        assert resolved(harness.engine) == 1
        assert harness.ask(first, clean_rows(MODEL, 1)).model_version == "1"
        # A replica that starts now is not shown the refused version.
        assert [number for number, _ in harness.board.after(0)] == [1]

    def test_without_any_the_engine_is_away(self, harness: ReplicatedEngineHarness) -> None:
        made = promoted(harness)
        harness.replicas.clear()
        assert refusal(harness.ask, made, clean_rows(MODEL, 1)) is Reason.ENGINE_UNAVAILABLE
        harness.registry.promote(harness.publish(BETTER))
        assert refusal(harness.show) is Reason.ENGINE_UNAVAILABLE
        assert resolved(harness.engine) == 1

    def test_the_board_has_what_is_newest(self, harness: ReplicatedEngineHarness) -> None:
        for _ in range(3):
            harness.registry.refresh()
            promoted(harness)
        assert len(list(harness.shown.iterdir())) == 1


def test_what_is_revoked_ends_at_once(harness: ReplicatedEngineHarness) -> None:
    made = promoted(harness)
    harness.replicas.append(harness.new_replica())
    harness.registry.revoke(made)
    assert refusal(harness.show) is Reason.VERSION_REVOKED
    assert refusal(harness.ask, made, clean_rows(MODEL, 1)) is Reason.VERSION_REVOKED
    assert asked_of_each(harness, made) == ["VERSION_REVOKED", "VERSION_REVOKED"]
