"""Answers of a gateway's digits, and reports of what was true of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.tensors import Tensor, read_outputs
from sealgate.trust.receipts import Receipt
from sealgate.v1 import outcome_pb2 as messages
from sealgate.v1.outcome_pb2_grpc import OutcomeServiceStub
from tests.support.harness.gateway import GatewayHarness, question, rows, running
from tests.support.harness.policy_changes import accept
from tests.support.harness.rollouts import with_guard

LABELS = "0123456789"
TAKEN = {"digits": {"groups": {"age": ["young", "old"]}}}


@contextmanager
def reporting(state: Path) -> Iterator[GatewayHarness]:
    """A gateway with metrics that takes outcomes of digits, and whose first version is live."""
    with running(state, "digits-standard", "digits-hardened") as harness:
        harness.promote("digits", 1)
        with (state / "gateway.toml").open("a") as settings:
            settings.write('\n[metrics]\nlisten = "127.0.0.1:0"\n')
        with_guard(harness, production={"error_percent": 100})
        accept(harness, outcomes=TAKEN)
        yield harness


@dataclass(frozen=True)
class Answered:
    """An answer: its log, its entry and its outputs."""

    origin: str
    index: int
    outputs: Sequence[Tensor]

    @property
    def classes(self) -> list[str]:
        return [LABELS[place] for place in np.argmax(self.outputs[0].data, axis=1)]


def answer(harness: GatewayHarness, number: int = 0, count: int = 1, **fields: str) -> Answered:
    """Ask for some rows from `number` on, as the client; `fields` are parameters of the request."""
    return answer_by(harness.inference(), number, count, **fields)


def answer_by(
    stub: GRPCInferenceServiceStub, number: int = 0, count: int = 1, **fields: str
) -> Answered:
    """The same, over a connection that there is."""
    request = question("digits", rows(count=20)[number % 20 :][:count], receipt=True)
    for name, value in fields.items():
        request.parameters[name].string_param = value
    response = stub.ModelInfer(request, timeout=60)
    receipt = Receipt.decode(response.parameters["receipt"].string_param.encode())
    origin = receipt.proof.checkpoint_note.partition("\n")[0]
    return Answered(origin, receipt.proof.index, list(read_outputs(response).values()))


def other_label(label: str) -> str:
    return LABELS[(LABELS.index(label) + 1) % 10]


def report_of(
    answered: Answered, *truths: str, groups: Mapping[str, str] | None = None
) -> messages.OutcomeReport:
    """A report of the true outcome of its rows; by default, the answered one."""
    return messages.OutcomeReport(
        index=answered.index,
        outputs=[
            messages.AnswerTensor(name=t.name, datatype=t.datatype, shape=t.shape, raw=t.raw)
            for t in answered.outputs
        ],
        truths=[messages.TrueOutcome(labels=[truth]) for truth in truths or answered.classes],
        groups=groups or {},
    )


def outcomes(harness: GatewayHarness, person: str = "client") -> OutcomeServiceStub:
    return OutcomeServiceStub(harness.channel(person))


def told(
    harness: GatewayHarness,
    origin: str,
    *reports: messages.OutcomeReport,
    person: str = "client",
    request_id: str = "",
) -> list[messages.OutcomeResult]:
    return told_to(outcomes(harness, person), origin, *reports, request_id=request_id)


def told_to(
    stub: OutcomeServiceStub,
    origin: str,
    *reports: messages.OutcomeReport,
    request_id: str = "",
) -> list[messages.OutcomeResult]:
    request = messages.ReportOutcomesRequest(origin=origin, reports=reports, request_id=request_id)
    return list(stub.ReportOutcomes(request, timeout=60).results)


def shown(harness: GatewayHarness, model: str = "digits") -> list[messages.OutcomeSeries]:
    request = messages.GetOutcomesRequest(model=model)
    return list(outcomes(harness, "auditor").GetOutcomes(request, timeout=60).series)
