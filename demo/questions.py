"""The demo's client: many questions at once, each answer or refusal kept with its reason."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from sealgate.client.client import Client
from sealgate.client.request import LABEL
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of
from sealgate.tensors import Tensor, write_inputs

Array = npt.NDArray[Any]
_THREADS = 16


def question(model: str, rows: Array, receipt: bool = False) -> oip.ModelInferRequest:
    """A request for `rows` [n, …], as float32, of one model."""
    request = oip.ModelInferRequest(model_name=model)
    write_inputs(request, [Tensor.of("x", np.asarray(rows, np.float32))])
    if receipt:
        request.parameters["receipt"].bool_param = True
    return request


def reason_for(stub: GRPCInferenceServiceStub, request: oip.ModelInferRequest) -> Reason | None:
    """Why a request is refused; None where it is answered."""
    try:
        stub.ModelInfer(request, timeout=10)
    except grpc.RpcError as error:
        return reason_of(error)
    return None


@dataclass(frozen=True, slots=True)
class Answered:
    """A class whose receipt was verified; `reduced`: it came alone, since the row is suspect."""

    label: int
    reduced: bool


def ask_each(client: Client, model: str, rows: Array) -> list[Answered | Reason]:
    """Asks for each row by itself: what was answered, or why nothing was."""

    def ask(row: Array) -> Answered | Reason:
        try:
            answer = client.infer(model, {"x": row[None]})
        except SealgateError as refusal:
            return refusal.reason
        return Answered(int(answer.classes[0]), LABEL in answer.outputs)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(ask, rows))


def share_refused(found: Sequence[Answered | Reason]) -> float:
    """The share of questions that screening refused."""
    return sum(item is Reason.ADVERSARIAL_INPUT for item in found) / max(len(found), 1)


def share_reduced(found: Sequence[Answered | Reason]) -> float:
    """The share that got a class alone."""
    return sum(item.reduced for item in found if isinstance(item, Answered)) / max(len(found), 1)


@dataclass(slots=True)
class Load:
    """A steady load in the background; every answer's version, and every failure, is counted."""

    stub: GRPCInferenceServiceStub
    model: str
    rows: Array
    versions: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    last_answer: dict[str, float] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Load":
        for place in range(_THREADS):
            thread = threading.Thread(target=self._run, args=(place,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, version: str, seconds: float = 60.0) -> None:
        """Returns once `version` has answered; raises TimeoutError if it does not."""
        deadline = time.monotonic() + seconds
        while not self.versions[version]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"version {version} has not answered")
            time.sleep(0.01)

    def _run(self, place: int) -> None:
        while not self._stopping.is_set():
            row = self.rows[place % len(self.rows)]
            place += _THREADS
            try:
                response = self.stub.ModelInfer(question(self.model, row[None]), timeout=60)
            except grpc.RpcError as error:
                reason = reason_of(error)
                # Refused by screening is an answer too: the request was not lost.
                if reason is not Reason.ADVERSARIAL_INPUT:
                    with self._mutex:
                        self.failures[reason.name if reason else str(error)] += 1
                continue
            now = time.monotonic()
            with self._mutex:
                self.versions[response.model_version] += 1
                self.last_answer[response.model_version] = now
