"""Callers who go on asking through a fault, and keep the receipt of each answer they got."""

import threading
import time
from collections import Counter

import grpc

from sealgate.audit import Auditor
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import Profile, access_of, connect, reason_of
from sealgate.signed_version import policy_history
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.harness.gateway import GatewayHarness, question, rows

LONGEST = 300.0
"""How long tests of faults wait for what must come: it ends them, and measures nothing."""

_PAUSE = 0.02
# Or connections to the same address are shared; and who was refused one soon tries again.
_OWN = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class Callers:
    """So many at once, each on a connection of its own; `patience` is each call's deadline.

    They ask the harness' gateway, or that of `profile`. Of each answer they keep the receipt by its
    place in the log, the version that gave it, and when it came; of what was refused, the reason or
    gRPC's status.
    """

    def __init__(
        self,
        harness: GatewayHarness,
        count: int = 8,
        patience: float = 5.0,
        profile: Profile | None = None,
    ) -> None:
        self.receipts: dict[int, Receipt] = {}
        self.twice = 0
        self.versions: Counter[str] = Counter()
        self.failures: Counter[Reason | grpc.StatusCode] = Counter()
        self.times: list[float] = []
        self._heard: set[int] = set()
        self._profile = profile or harness.profile("client")
        self._patience = patience
        self._stopping = threading.Event()
        self._mutex = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask nothing more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def await_answers(self, count: int = 20, seconds: float = LONGEST) -> None:
        """Wait for so many more."""
        enough = len(self.times) + count
        self._await(lambda: len(self.times) >= enough, seconds)

    def await_everybody(self) -> None:
        """Wait until each of them is connected, and was answered at least once."""
        self._await(lambda: len(self._heard) == len(self._threads), LONGEST)

    def await_failures(self, *reasons: Reason | grpc.StatusCode, seconds: float = LONGEST) -> None:
        """Wait until one more has failed for each of these reasons."""
        for reason in reasons:
            before = self.failures[reason]
            self._await(lambda r=reason, b=before: self.failures[r] > b, seconds)

    def recovery(self, since: float, seconds: float = LONGEST) -> float:
        """How many seconds after `since` the next answer came, which is waited for."""
        self._await(lambda: bool(self.times) and self.times[-1] > since, seconds)
        return next(time for time in list(self.times) if time > since) - since

    def _await(self, holds, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, (self.versions, self.failures)
            time.sleep(0.005)

    def _run(self) -> None:
        access = access_of(self._profile)
        request = question("digits", rows(), receipt=True)
        with grpc.secure_channel(access.endpoint, access.credentials(), _OWN) as channel:
            stub = GRPCInferenceServiceStub(channel)
            while not self._stopping.is_set():
                try:
                    answer = stub.ModelInfer(request, timeout=self._patience)
                except grpc.RpcError as error:
                    with self._mutex:
                        self.failures[reason_of(error) or error.code()] += 1
                    time.sleep(_PAUSE)
                    continue
                self._keep(answer)

    def _keep(self, answer) -> None:
        receipt = Receipt.decode(answer.parameters["receipt"].string_param.encode())
        with self._mutex:
            self.twice += receipt.proof.index in self.receipts
            self.receipts[receipt.proof.index] = receipt
            self.versions[answer.model_version] += 1
            self.times.append(time.monotonic())
            self._heard.add(threading.get_ident())


def missing(harness: GatewayHarness, callers: Callers) -> int:
    """How many answers are not in the log at the place that their receipts name.

    Every entry of every log is hashed again first, as `sealgate audit verify` does.
    """
    done = harness.command("audit", "verify", "--wait", "60", "--json", person="auditor")
    assert done.exit_code == 0, done.output
    return unlogged(harness.profile("auditor"), callers)


def unlogged(auditor: Profile, callers: Callers) -> int:
    """The same of the answer log that the gateway of this profile shows. Each receipt must verify.

    Raises: SealgateError for one that does not.
    """
    first, end = min(callers.receipts), max(callers.receipts) + 1
    with connect(auditor) as channel:
        stub = RegistryServiceStub(channel)
        policy = policy_history(stub, auditor.pinned_roots(), auditor.root_threshold)[-1]
        reader = Auditor(channel, policy)
        origin = next(o for o in reader.origins() if policy.is_answer_log(o))
        end = min(end, reader.checkpoint(origin).size)
        found = [leaf for part in reader.entries(origin, end, first) for leaf in part]
    logged = dict(enumerate(found, first))
    for receipt in callers.receipts.values():
        assert verify_receipt(receipt, policy).checkpoint.origin == origin
    lost = sum(logged.get(index) != kept.entry for index, kept in callers.receipts.items())
    return lost + callers.twice


def newcomer(harness: GatewayHarness, seconds: float = 5.0) -> str | Reason | grpc.StatusCode:
    """The version that answers somebody on a connection of their own, or why none does."""
    access = access_of(harness.profile("client"))
    with grpc.secure_channel(access.endpoint, access.credentials(), _OWN) as channel:
        try:
            stub = GRPCInferenceServiceStub(channel)
            return stub.ModelInfer(question("digits", rows()), timeout=seconds).model_version
        except grpc.RpcError as error:
            return reason_of(error) or error.code()
