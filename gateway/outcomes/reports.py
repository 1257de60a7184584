"""Takes reports of true outcomes, and records each beside the answer that it is about.

A batch is read, checked and recorded in one trip; what is wrong with one report is no other's. Of
each report:

1. The entry can be opened (ENTRY_UNKNOWN, OPENING_MISSING): pruned and erased answers have no
   outcome.
2. It is the caller's own, unless the caller is a `monitor` (OUTCOME_FOREIGN), and a right covers
   reports of its model and alias (RIGHT_MISSING).
3. The policy's section `outcomes` names the model (OUTCOME_UNWANTED) and each stated group
   (OUTCOME_GROUP).
4. The entry is an answer (OUTCOME_UNSUITABLE), and the outputs are those that it commits to
   (OUTCOME_MISMATCH), so nobody improves what a version answered, and no answer is stored twice.
5. The truth is one that the version can answer (`gateway.outcomes.judged`).
6. The answer has no other outcome (OUTCOME_EXISTS). The same one again changes nothing. There are
   no corrections: what a limit has acted on stays as it was.
7. It is recorded, about the answer's subject, so that an erasure reaches both.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from gateway.auth import Rights
from gateway.calls.call import Call
from gateway.outcomes.book import OutcomeBook, Promotion, alias_of, promotion_of
from gateway.outcomes.judged import JudgedAnswer, Truth, judge
from gateway.recording import AuditRecorder, PreparedRecord
from inference.engine.version_contents import MODEL
from inference.model.config import ModelConfig
from registry.answers import AnswerLog
from registry.models import Versions
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, digest_of
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import FIELDS, REPORTED
from sealgate.trust.times import format_micros, parse_micros

MOST_REPORTS = 256
"""In one call: as many as the log takes in one group."""
_ANSWERED = "answered"
_EVERYBODYS = "monitor"
_CONFIGS = 64
Values = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OutcomeReport:
    """The outcome of the answer at `index`, whose outputs were `outputs`."""

    index: int
    outputs: Mapping[str, Tensor]
    truths: Sequence[Truth]
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportResult:
    """Where the outcome of entry `index` is recorded, or why it is not."""

    index: int
    entry: int = 0
    refusal: SealgateError | None = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """A report that holds: whom the answer is about, its entry's values, and what was found."""

    report: OutcomeReport
    subject: str
    answer: Values
    judged: JudgedAnswer


class OutcomeReports:
    """Safe for many threads; one batch is taken after the other, so that each answer has one
    outcome.
    """

    def __init__(
        self,
        log: AnswerLog,
        recorder: AuditRecorder,
        versions: Versions,
        rights: Rights,
        policy: Callable[[], Policy],
        book: OutcomeBook,
        clock: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._recorder = recorder
        self._versions = versions
        self._rights = rights
        self._policy = policy
        self._book = book
        self._clock = clock
        self._mutex = threading.Lock()
        self._config = lru_cache(_CONFIGS)(self._read_config)

    def take(
        self, call: Call, origin: str, reports: Sequence[OutcomeReport], request_id: str
    ) -> list[ReportResult]:
        """Take a batch. Raises SealgateError: LOG_UNKNOWN; PARAMETER_MALFORMED for no reports, more
        than MOST_REPORTS, or two of one entry; reasons of `AuditRecorder.record`.
        """
        if origin != self._log.origin:
            raise SealgateError(Reason.LOG_UNKNOWN, origin)
        indices = [report.index for report in reports]
        if not 1 <= len(set(indices)) == len(indices) <= MOST_REPORTS:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "reports")
        with self._mutex:
            results = self._take(call, reports, indices, request_id)
            self._book.counted.update(
                each.refusal.reason.name if each.refusal else "" for each in results
            )
        return results

    def _take(
        self, call: Call, reports: Sequence[OutcomeReport], indices: list[int], request_id: str
    ) -> list[ReportResult]:
        known = self._book.reports(indices)
        openings = self._log.openings.some([*indices, *known.values()])
        results: dict[int, ReportResult] = {}
        checked: list[_Checked] = []
        for report in reports:
            try:
                opening = openings.get(report.index)
                if opening is None or self._recorder.is_erasing(opening.subject):
                    known_here = 0 <= report.index < self._log.size
                    reason = Reason.OPENING_MISSING if known_here else Reason.ENTRY_UNKNOWN
                    raise SealgateError(reason, str(report.index))
                # An entry of the first format lacks the last fields.
                answer = dict.fromkeys(FIELDS, "") | dict(zip(FIELDS, opening.fields, strict=False))
                judged = self._judged(call, report, answer)
                found = _Checked(report, opening.subject, answer, judged)
                earlier = known.get(report.index)
                if earlier is None:
                    checked.append(found)
                    continue
                told = openings.get(earlier)
                if told is None or told.fields[FIELDS.index("output")] != found.judged.encode():
                    raise SealgateError(Reason.OUTCOME_EXISTS, str(report.index))
                results[report.index] = ReportResult(report.index, earlier)
            except SealgateError as refusal:
                results[report.index] = ReportResult(report.index, refusal=refusal)
        results |= self._recorded(call, checked, request_id)
        return [results[index] for index in indices]

    def _judged(self, call: Call, report: OutcomeReport, answer: Values) -> JudgedAnswer:
        """Steps 2 to 5."""
        # 2.
        caller, model = call.principal, answer["model"]
        if answer["principal"] != caller.name and _EVERYBODYS not in caller.roles:
            raise SealgateError(Reason.OUTCOME_FOREIGN, caller.name)
        if not model:
            raise SealgateError(Reason.OUTCOME_UNSUITABLE, "no inference")
        self._rights.check(call, "report", model, alias_of(answer) or None)
        # 3.
        section = self._policy().outcomes
        rules = section.of(model) if section else None
        if rules is None:
            raise SealgateError(Reason.OUTCOME_UNWANTED, model)
        for attribute, group in report.groups.items():
            if group not in rules.groups.get(attribute, ()):
                raise SealgateError(Reason.OUTCOME_GROUP, attribute[:64])
        # 4.
        if answer["outcome"] != _ANSWERED or not answer.get("version_digest"):
            raise SealgateError(Reason.OUTCOME_UNSUITABLE, answer["outcome"])
        told = digest_of(report.outputs.values())
        if told != answer["output"]:
            raise SealgateError(Reason.OUTCOME_MISMATCH, str(report.index))
        # 5.
        config = self._config(model, int(answer["version"]), answer["version_digest"])
        return judge(config, report.outputs, report.truths, dict(report.groups))

    def _read_config(self, model: str, version: int, digest: str) -> ModelConfig:
        """The configuration of a version, which may be live no more. Raises: OUTCOME_UNSUITABLE for
        a language model; VERSION_ALTERED.
        """
        if self._versions.get(model, version).digest != digest:
            raise SealgateError(
                Reason.VERSION_ALTERED, f"{model} {version} is not the one recorded"
            )
        try:
            return ModelConfig.decode(self._versions.read_file(model, version, MODEL))
        except SealgateError as refusal:
            if refusal.reason is not Reason.FILE_SURPLUS:
                raise
            raise SealgateError(Reason.OUTCOME_UNSUITABLE, "a language model") from refusal

    def _recorded(
        self, call: Call, checked: Sequence[_Checked], request_id: str
    ) -> dict[int, ReportResult]:
        """Step 7."""
        if not checked:
            return {}
        time, policy = format_micros(self._clock()), self._policy().digest
        records = [_record(call, each, time, policy, request_id) for each in checked]
        found: dict[int, ReportResult] = {}
        taken: list[tuple[Promotion, JudgedAnswer, int]] = []
        for each, recorded in zip(checked, self._recorder.record_burst(records), strict=True):
            index = each.report.index
            if isinstance(recorded, SealgateError):
                found[index] = ReportResult(index, refusal=recorded)
                continue
            found[index] = ReportResult(index, recorded.index)
            taken.append((promotion_of(each.answer), each.judged, recorded.index))
        self._book.add(parse_micros(time).timestamp(), taken)
        return found


def _record(call: Call, each: _Checked, time: str, policy: str, request_id: str) -> PreparedRecord:
    copied = ("model", "version", "version_digest", "pointer_sequence")
    values = dict.fromkeys(FIELDS, "") | {name: each.answer[name] for name in copied}
    values |= {
        "time": time,
        "principal": call.principal.name,
        "method": call.method,
        "policy_digest": policy,
        "input": str(each.report.index),
        "output": each.judged.encode(),
        "outcome": REPORTED,
        "alias": alias_of(each.answer),
        "request_id": request_id,
    }
    return PreparedRecord(each.subject, tuple(values.values()))
