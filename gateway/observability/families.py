"""Every metric of the gateway: its name, which never changes, its kind, labels and meaning.

Labels hold names of models, aliases, versions, verdicts and reasons, all of which the registry, the
configuration or this program bounds; never what a caller wrote or who called.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Metric

COUNTER, GAUGE, HISTOGRAM, SUMMARY = "counter", "gauge", "histogram", "summary"
# How the names of a metric's series end.
_ENDINGS = {
    COUNTER: ("",),
    GAUGE: ("",),
    HISTOGRAM: ("_bucket", "_count", "_sum"),
    SUMMARY: ("_count", "_sum"),
}


@dataclass(frozen=True, slots=True)
class Family:
    """A metric's name, its kind as Prometheus calls it, its labels, and what it says."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    def empty(self) -> Metric:
        """The metric without any value."""
        return Metric(self.name.removesuffix("_total"), self.meaning, self.kind)

    @property
    def series(self) -> Sequence[str]:
        """The names by which Prometheus knows its values."""
        return [self.name + ending for ending in _ENDINGS[self.kind]]


_ENDING = ("model", "version", "verdict", "reason")
VERSION = ("model", "version")
ALIAS = ("model", "alias")

REQUESTS = Family(
    "sealgate_requests_total",
    COUNTER,
    _ENDING,
    "Inference requests by result. The reason is empty for an answer, the verdict if screening "
    "gave none, model and version if the request reached no version",
)
REQUEST_SECONDS = Family(
    "sealgate_request_seconds_total",
    COUNTER,
    _ENDING,
    "Total time of inference requests, from the message to just before the answer",
)
QUEUE_SECONDS = Family(
    "sealgate_queue_seconds",
    SUMMARY,
    VERSION,
    "Time that requests waited for their batch; 0 if a separate engine runs the version",
)
BATCH_SECONDS = Family(
    "sealgate_batch_seconds",
    SUMMARY,
    VERSION,
    "Time of batches: gathering rows, screening, inference and splitting results",
)
BATCH_ROWS = Family("sealgate_batch_rows", HISTOGRAM, VERSION, "How many rows batches had")
SCREENING_SECONDS = Family(
    "sealgate_screening_seconds",
    SUMMARY,
    VERSION,
    "Time of runs of the screening graph, including the checks at load; none if a separate engine "
    "runs the version",
)
INFERENCE_SECONDS = Family(
    "sealgate_inference_seconds",
    SUMMARY,
    VERSION,
    "Time of runs of the serving graph, including the checks at load; none if a separate engine "
    "runs the version",
)
SCREENED_ROWS = Family(
    "sealgate_screened_rows_total",
    COUNTER,
    (*VERSION, "stage"),
    "Rows of requests by the stage of screening that decided: first or graph. Without a first "
    "stage, graph decides all rows",
)
SCREENING_WITHDRAWN = Family(
    "sealgate_screening_bound_withdrawn",
    GAUGE,
    VERSION,
    "1 if the bound on false alarms of a version is withdrawn, because its traffic differs from "
    "the calibration rows; else 0",
)
SESSION_FINDINGS = Family(
    "sealgate_session_findings_total",
    COUNTER,
    ("model", "kind"),
    "Rows at which a caller's session looked like an attack: search, extraction, turned (a "
    "near-duplicate of another class) or crossed (a class other than several other callers got)",
)
SESSION_ACTIONS = Family(
    "sealgate_session_actions_total",
    COUNTER,
    ("model", "action"),
    "Requests of callers whose session looks like an attack, by the policy's action: block, "
    "label-only, slow or alert; and near-duplicates that got the class of an earlier row: anchor",
)
_PROMOTION = ("model", "alias", "version")
OUTCOME_REPORTS = Family(
    "sealgate_outcome_reports_total",
    COUNTER,
    ("reason",),
    "Reports of true outcomes by the reason of a refusal, which is empty for accepted reports",
)
OUTCOMES = Family(
    "sealgate_outcomes",
    GAUGE,
    _PROMOTION,
    "True outcomes of a live promotion that were reported within the policy's window",
)
OUTCOME_ACCURACY = Family(
    "sealgate_outcome_accuracy", GAUGE, _PROMOTION, "The share of right answers among these"
)
OUTCOME_CALIBRATION = Family(
    "sealgate_outcome_calibration_error",
    GAUGE,
    _PROMOTION,
    "Their expected calibration error, if answers state their confidence",
)
COLUMN_DRIFT = Family(
    "sealgate_column_psi",
    GAUGE,
    _PROMOTION,
    "The population stability index of the column of a live promotion whose values are furthest "
    "from those of the calibration rows",
)
OUTCOME_LIMIT = Family(
    "sealgate_outcome_limit_passed",
    GAUGE,
    ALIAS,
    "1 for an alias whose outcomes pass a limit of the policy, or else 0",
)
FIRST_TOKEN_SECONDS = Family(
    "sealgate_first_token_seconds",
    HISTOGRAM,
    VERSION,
    "Time from the request's message to the first token of a language model",
)
NEXT_TOKEN_SECONDS = Family(
    "sealgate_next_token_seconds",
    HISTOGRAM,
    VERSION,
    "Time between two tokens of a language model, or between two parts from a server of OpenAI's "
    "protocol",
)
TOKENS = Family(
    "sealgate_tokens_total",
    COUNTER,
    (*VERSION, "part"),
    "Tokens of language models' requests, of the prompt and of the output. Answers that were cut "
    "count if the number of their tokens is known",
)
FAULTS = Family(
    "sealgate_faults_total",
    COUNTER,
    (*VERSION, "fault"),
    "Faults of runs that were recovered: out_of_memory, run_ended, sessions_replaced",
)
POINTER_SEQUENCE = Family(
    "sealgate_pointer_sequence",
    GAUGE,
    ALIAS,
    "The sequence of the pointer that is live for an alias",
)
POINTER_VERSION = Family("sealgate_pointer_version", GAUGE, ALIAS, "The live version of an alias")
POINTER_END = Family(
    "sealgate_pointer_end_timestamp_seconds",
    GAUGE,
    ALIAS,
    "When an alias stops answering unless its freshness is renewed, grace included",
)
VERSION_READY = Family(
    "sealgate_version_ready",
    GAUGE,
    (*VERSION, "reason"),
    "1 if a version that a pointer names answers; else 0, with the reason",
)
POLICY_VERSION = Family("sealgate_policy_version", GAUGE, (), "The version of the policy in force")
POLICY_END = Family(
    "sealgate_policy_end_timestamp_seconds",
    GAUGE,
    (),
    "When the policy in force expires, grace not included",
)
REVIEW_END = Family(
    "sealgate_review_end_timestamp_seconds",
    GAUGE,
    ("model", "alias"),
    "When the approvals of the live version expire, if the policy limits them",
)
CALL_REFUSALS = Family(
    "sealgate_call_refusals_total",
    COUNTER,
    ("reason", "recorded"),
    "Refused calls of all methods, except inference requests on the request path. Refusals of "
    "unknown callers and by quotas are only counted: recorded is no",
)
DOOR_REFUSALS = Family(
    "sealgate_door_refusals_total",
    COUNTER,
    ("reason", "recorded"),
    f"Deprecated, ends with 0.3: the same as `{CALL_REFUSALS.name}`",
)
DEPRECATED = {DOOR_REFUSALS.name: CALL_REFUSALS.name}
"""Old names that are still shown, by the names that replace them."""
HTTP_ANSWERS = Family(
    "sealgate_http_answers_total",
    COUNTER,
    ("status",),
    "Answers of the HTTP gateway to all requests, by status; none without `[http]`",
)
LOG_ENTRIES = Family(
    "sealgate_log_entries",
    GAUGE,
    ("log",),
    "Entries of the logs: the answer log, and the registry's log as last seen here",
)
STAMPED = Family(
    "sealgate_log_stamped_timestamp_seconds",
    GAUGE,
    ("log",),
    "The time of the newest time stamp on a log's checkpoint, 0 before the first; none without "
    "`[timestamps]`",
)
STAMP_INTERVAL = Family(
    "sealgate_log_stamp_interval_seconds",
    GAUGE,
    ("log",),
    "The time between two time stamps; after twice that they are late",
)
COMMIT_SECONDS = Family(
    "sealgate_log_commit_seconds",
    SUMMARY,
    (),
    "Time of durable writes of groups of entries to the answer log",
)
CERTIFICATE_END = Family(
    "sealgate_certificate_end_timestamp_seconds",
    GAUGE,
    ("certificate",),
    "When a certificate expires: those that listeners serve, and those between gateway, engine and "
    "generator; of several in a file, the first to expire",
)
CERTIFICATE_RENEWALS = Family(
    "sealgate_certificate_renewals_total",
    COUNTER,
    ("result",),
    "Changed certificate files by result: taken, or refused, which leaves the served certificate "
    "as it is",
)
READY = Family("sealgate_ready", GAUGE, (), "1 while /readyz answers 200, else 0")

FAMILIES = (
    REQUESTS,
    REQUEST_SECONDS,
    QUEUE_SECONDS,
    BATCH_SECONDS,
    BATCH_ROWS,
    SCREENING_SECONDS,
    INFERENCE_SECONDS,
    SCREENED_ROWS,
    SCREENING_WITHDRAWN,
    SESSION_FINDINGS,
    SESSION_ACTIONS,
    OUTCOME_REPORTS,
    OUTCOMES,
    OUTCOME_ACCURACY,
    OUTCOME_CALIBRATION,
    COLUMN_DRIFT,
    OUTCOME_LIMIT,
    FIRST_TOKEN_SECONDS,
    NEXT_TOKEN_SECONDS,
    TOKENS,
    FAULTS,
    POINTER_SEQUENCE,
    POINTER_VERSION,
    POINTER_END,
    VERSION_READY,
    POLICY_VERSION,
    POLICY_END,
    REVIEW_END,
    CALL_REFUSALS,
    DOOR_REFUSALS,
    HTTP_ANSWERS,
    LOG_ENTRIES,
    STAMPED,
    STAMP_INTERVAL,
    COMMIT_SECONDS,
    CERTIFICATE_END,
    CERTIFICATE_RENEWALS,
    READY,
)
