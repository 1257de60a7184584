"""OutcomeService: reports of true outcomes in, what they say out."""

from dataclasses import asdict

from gateway.auth import Rights
from gateway.calls.call import Call
from gateway.calls.params import check_id
from gateway.outcomes import (
    MOST_REPORTS,
    OutcomeBook,
    OutcomeReport,
    OutcomeReports,
    ShownOutcomes,
    Truth,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import MOST, Tensor, TensorForm
from sealgate.trust.fields import check_name
from sealgate.v1 import outcome_pb2 as messages
from sealgate.v1.outcome_pb2_grpc import OutcomeServiceServicer

_MOST_SERIES = 16
# Rows of all answers of a call.
_MOST_TRUTHS = 1 << 17
_MOST_COLUMNS = 32


class OutcomeService(OutcomeServiceServicer):
    """`AuthInterceptor` has admitted each call."""

    def __init__(self, reports: OutcomeReports, book: OutcomeBook, rights: Rights) -> None:
        self._reports = reports
        self._book = book
        self._rights = rights

    def ReportOutcomes(
        self, request: messages.ReportOutcomesRequest, call: Call
    ) -> messages.ReportOutcomesResponse:
        request_id = check_id(request.request_id, "request_id")
        # Before they are read: a message has room for two million, which take a thousand times that
        # in memory.
        if len(request.reports) > MOST_REPORTS:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "reports")
        if sum(len(report.truths) for report in request.reports) > _MOST_TRUTHS:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "truths")
        reports = [_read(report) for report in request.reports]
        results = self._reports.take(call, request.origin, reports, request_id)
        return messages.ReportOutcomesResponse(
            results=[
                messages.OutcomeResult(
                    index=each.index,
                    entry=each.entry,
                    reason=each.refusal.reason.name if each.refusal else "",
                )
                for each in results
            ]
        )

    def GetOutcomes(
        self, request: messages.GetOutcomesRequest, call: Call
    ) -> messages.GetOutcomesResponse:
        model = check_name(request.model)
        self._rights.check(call, "read", model)
        return messages.GetOutcomesResponse(
            series=map(_series, self._book.shown(model)[:_MOST_SERIES])
        )


def _read(report: messages.OutcomeReport) -> OutcomeReport:
    """Raises SealgateError: PARAMETER_MALFORMED, and as `TensorForm` does."""
    outputs = {each.name: _tensor(each) for each in report.outputs[:MOST]}
    if len(outputs) < len(report.outputs):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "outputs")
    return OutcomeReport(
        report.index,
        outputs,
        [Truth(tuple(each.labels), tuple(each.numbers)) for each in report.truths],
        dict(report.groups),
    )


def _tensor(message: messages.AnswerTensor) -> Tensor:
    return TensorForm.of(message.name, message.datatype, tuple(message.shape)).read(message.raw)


def _series(shown: ShownOutcomes) -> messages.OutcomeSeries:
    promotion, window = shown.promotion, shown.window
    entries = window.rows["entry"]
    return messages.OutcomeSeries(
        alias=promotion.alias,
        version=promotion.version,
        version_digest=promotion.digest,
        pointer_sequence=promotion.sequence,
        window_seconds=shown.seconds,
        figures=messages.OutcomeFigures(
            outcomes=len(window),
            accuracy=window.accuracy,
            ece=window.ece,
            mean_error=window.mean_error,
        ),
        points=[
            messages.OutcomePoint(
                time=int(1e3 * each.time), outcomes=each.outcomes, accuracy=each.accuracy
            )
            for each in window.points()
        ],
        bins=[messages.CalibrationBin(**asdict(each)) for each in window.bins()],
        groups=[messages.GroupFigures(**asdict(each)) for each in window.groups()],
        columns=[messages.ColumnDrift(**asdict(each)) for each in shown.columns[:_MOST_COLUMNS]],
        finding=shown.finding,
        first_entry=int(entries.min()) if len(entries) else 0,
        last_entry=int(entries.max()) if len(entries) else 0,
    )
