"""The drill's callers: they ask all the time, verify each receipt, and report what was true."""

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
import numpy.typing as npt

import sealgate
from demo.drill.timing import DrillRequest
from sealgate.audit import Auditor
from sealgate.client.client import Client, options_of
from sealgate.client.request import InferResult
from sealgate.reasons import SealgateError
from sealgate.remote import Profile, connect
from sealgate.remote.calls import Retries
from sealgate.signed_version import policy_history
from sealgate.tensors import Tensor
from sealgate.trust.receipts import Receipt
from sealgate.v1 import outcome_pb2 as messages
from sealgate.v1.outcome_pb2_grpc import OutcomeServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

Array = npt.NDArray[Any]
MODEL = "digits"
_CALLERS = 4
_PAUSE = 0.1
_TIMEOUT = 10.0
_REPORT_EVERY = 0.5
_MOST_REPORTS = 256
_LOOK = 0.02


class DrillTraffic:
    """Callers of digits, one row a request, each with a pause of a tenth of a second.

    A batch job reports the truth of each answer within a second. `change` is what the rows go
    through before they are sent; the drill replaces it.
    """

    def __init__(self, profile: Profile, rows: Array, labels: Array) -> None:
        """`rows` [n, 64] with their true `labels` [n]."""
        self.change: Callable[[Array], Array] = lambda row: row
        self._profile = profile
        self._rows, self._labels = rows, labels
        self._asked: list[DrillRequest] = []
        self._unreported: SimpleQueue[tuple[str, messages.OutcomeReport]] = SimpleQueue()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_on, args=(place,), daemon=True)
            for place in range(_CALLERS)
        ]
        self._threads.append(threading.Thread(target=self._report_on, daemon=True))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def since(self, moment: float) -> list[DrillRequest]:
        """The requests that were sent from then on and have been answered or refused."""
        return [item for item in list(self._asked) if item.sent >= moment]

    def wait(
        self, good: Callable[[DrillRequest], bool], since: float, count: int, seconds: float
    ) -> bool:
        """Wait for so many good answers to requests sent after `since`; whether they came."""
        deadline = time.monotonic() + seconds
        while sum(map(good, self.since(since))) < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK)
        return True

    def _ask_on(self, place: int) -> None:
        # Each call once: a caller who tries again by himself would hide a breakdown.
        options = options_of(self._profile) | {"retries": Retries(attempts=1)}
        options.pop("witness", None)
        with sealgate.connect(self._profile.endpoint, **options) as client:
            while not self._stopping.wait(_PAUSE):
                self._asked.append(self._ask(client, place % len(self._rows)))
                place += _CALLERS

    def _ask(self, client: Client, place: int) -> DrillRequest:
        row, label = self.change(self._rows[place][None]), int(self._labels[place])
        sent = time.monotonic()
        try:
            answer = client.infer(MODEL, {"x": row}, timeout=_TIMEOUT)
        except SealgateError as refusal:
            return DrillRequest(sent, time.monotonic(), reason=refusal.reason)
        received = time.monotonic()
        receipt = Receipt.decode(answer.receipt.data)
        index = receipt.proof.index
        self._unreported.put((answer.receipt.checkpoint.origin, _report(answer, index, label)))
        right = int(answer.classes[0]) == label
        kept = (index, receipt.entry, answer.receipt.data)
        return DrillRequest(sent, received, answer.version, right, *kept)

    def _report_on(self) -> None:
        with connect(self._profile) as channel:
            stub = OutcomeServiceStub(channel)
            waiting: list[tuple[str, messages.OutcomeReport]] = []
            while not self._stopping.wait(_REPORT_EVERY):
                waiting += _drained(self._unreported)
                some = waiting[:_MOST_REPORTS]
                if some and _sent(stub, some):
                    del waiting[: len(some)]


def lost_answers(auditor: Profile, asked: Sequence[DrillRequest]) -> int:
    """How many answers are not in the answer log, at the place and with the entry of their receipt.

    Callers verified the receipts when they came. Two answers at one place count as one lost.
    """
    kept = [item for item in asked if item.answered]
    if not kept:
        return 0
    entries = {item.index: item.entry for item in kept}
    first, end = min(entries), max(entries) + 1
    with connect(auditor) as channel:
        stub = RegistryServiceStub(channel)
        policy = policy_history(stub, auditor.pinned_roots(), auditor.root_threshold)[-1]
        reader = Auditor(channel, policy)
        origin = next(o for o in reader.origins() if policy.is_answer_log(o))
        end = min(end, reader.checkpoint(origin).size)
        found = [leaf for part in reader.entries(origin, end, first) for leaf in part]
    logged = dict(enumerate(found, first))
    twice = len(kept) - len(entries)
    return twice + sum(logged.get(index) != entry for index, entry in entries.items())


def _report(answer: InferResult, index: int, label: int) -> messages.OutcomeReport:
    tensors = [Tensor.of(name, np.asarray(array)) for name, array in answer.outputs.items()]
    return messages.OutcomeReport(
        index=index,
        outputs=[
            messages.AnswerTensor(name=t.name, datatype=t.datatype, shape=t.shape, raw=t.raw)
            for t in tensors
        ],
        truths=[messages.TrueOutcome(labels=[str(label)])],
    )


def _drained(
    queue: SimpleQueue[tuple[str, messages.OutcomeReport]],
) -> list[tuple[str, messages.OutcomeReport]]:
    found = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found


def _sent(stub: OutcomeServiceStub, some: Sequence[tuple[str, messages.OutcomeReport]]) -> bool:
    """Whether the gateway took the reports; it is asked again otherwise."""
    request = messages.ReportOutcomesRequest(
        origin=some[0][0], reports=[report for _, report in some]
    )
    try:
        stub.ReportOutcomes(request, timeout=_TIMEOUT)
    except grpc.RpcError:
        return False
    return True
