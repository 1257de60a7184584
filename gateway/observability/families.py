"""Every metric that the gateway shows: names that stay, and labels whose values are few.

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
    "Inference requests by how they ended; reason is empty for an answer, verdict where screening "
    "came to none, model and version where the request came to no version",
)
REQUEST_SECONDS = Family(
    "sealgate_request_seconds_total",
    COUNTER,
    _ENDING,
    "How long these requests took together, from their message to just before their answer",
)
QUEUE_SECONDS = Family(
    "sealgate_queue_seconds",
    SUMMARY,
    VERSION,
    "How long requests waited for their batch; 0 where an engine of its own process runs it",
)
BATCH_SECONDS = Family(
    "sealgate_batch_seconds",
    SUMMARY,
    VERSION,
    "How long batches took: gathering rows, screening, inference, parting them",
)
BATCH_ROWS = Family("sealgate_batch_rows", HISTOGRAM, VERSION, "How many rows batches had")
SCREENING_SECONDS = Family(
    "sealgate_screening_seconds",
    SUMMARY,
    VERSION,
    "How long runs of the screening graph took, those that check it at load among them; none where "
    "an engine of its own process runs it",
)
INFERENCE_SECONDS = Family(
    "sealgate_inference_seconds",
    SUMMARY,
    VERSION,
    "The same of the graph that answers",
)
SCREENED_ROWS = Family(
    "sealgate_screened_rows_total",
    COUNTER,
    (*VERSION, "stage"),
    "Rows of requests by the stage of screening that decided: first, or graph, which is all of "
    "them where a version has no first stage",
)
SCREENING_WITHDRAWN = Family(
    "sealgate_screening_bound_withdrawn",
    GAUGE,
    VERSION,
    "1 for a version whose bound on false alarms is withdrawn, for its traffic is no longer as it "
    "was calibrated, or else 0",
)
SESSION_FINDINGS = Family(
    "sealgate_session_findings_total",
    COUNTER,
    ("model", "kind"),
    "Rows at which a caller's session looked like an attack: search or extraction; turned: a "
    "near-duplicate of another class; crossed: of a class that several other callers were not told",
)
SESSION_ACTIONS = Family(
    "sealgate_session_actions_total",
    COUNTER,
    ("model", "action"),
    "Requests of callers whose session had been found to look so, by what the policy let follow: "
    "block, label-only, slow or alert; and near-duplicates answered as an earlier row was: anchor",
)
_PROMOTION = ("model", "alias", "version")
OUTCOME_REPORTS = Family(
    "sealgate_outcome_reports_total",
    COUNTER,
    ("reason",),
    "Reports of true outcomes by why they were refused; reason is empty for what was taken",
)
OUTCOMES = Family(
    "sealgate_outcomes",
    GAUGE,
    _PROMOTION,
    "True outcomes of a live promotion that were reported within the policy's window",
)
OUTCOME_ACCURACY = Family(
    "sealgate_outcome_accuracy", GAUGE, _PROMOTION, "The share of these whose answer was right"
)
OUTCOME_CALIBRATION = Family(
    "sealgate_outcome_calibration_error",
    GAUGE,
    _PROMOTION,
    "Their expected calibration error, where answers tell their confidence",
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
    "How long language models' first tokens were waited for, from the request's message on",
)
NEXT_TOKEN_SECONDS = Family(
    "sealgate_next_token_seconds",
    HISTOGRAM,
    VERSION,
    "How long their further tokens were, or parts, where a server of OpenAI's protocol generates",
)
TOKENS = Family(
    "sealgate_tokens_total",
    COUNTER,
    (*VERSION, "part"),
    "Tokens of language models' requests: of the prompt, and of the output, those of answers that "
    "were cut among them, if it is known how many came",
)
FAULTS = Family(
    "sealgate_faults_total",
    COUNTER,
    (*VERSION, "fault"),
    "What went wrong with runs and was put right: out_of_memory, run_ended, sessions_replaced",
)
POINTER_SEQUENCE = Family(
    "sealgate_pointer_sequence",
    GAUGE,
    ALIAS,
    "The sequence of the pointer that an alias answers by",
)
POINTER_VERSION = Family(
    "sealgate_pointer_version", GAUGE, ALIAS, "The version that an alias answers with"
)
POINTER_END = Family(
    "sealgate_pointer_end_timestamp_seconds",
    GAUGE,
    ALIAS,
    "Until when an alias answers if its freshness is not renewed, grace included",
)
VERSION_READY = Family(
    "sealgate_version_ready",
    GAUGE,
    (*VERSION, "reason"),
    "1 for a version that a pointer names and that answers, or else 0 and why",
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
    "Until when the approvals of the live version count, where the policy says for how long",
)
CALL_REFUSALS = Family(
    "sealgate_call_refusals_total",
    COUNTER,
    ("reason", "recorded"),
    "Calls of any method refused outside the path of an inference request; recorded is no for "
    "those of unknown callers and quotas, which are only counted",
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
    "What the HTTP gateway answered, to inference and all else, by status; none without `[http]`",
)
LOG_ENTRIES = Family(
    "sealgate_log_entries",
    GAUGE,
    ("log",),
    "Entries of the logs: answers, and registry as last seen here",
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
    "How long it took to write groups of entries to the answer log",
)
CERTIFICATE_END = Family(
    "sealgate_certificate_end_timestamp_seconds",
    GAUGE,
    ("certificate",),
    "When a certificate that is served, or that an engine or a generator is known by or asked "
    "with, expires; of several in a file, the first",
)
CERTIFICATE_RENEWALS = Family(
    "sealgate_certificate_renewals_total",
    COUNTER,
    ("result",),
    "How often other certificate files were found, and taken, or refused: what was served stays "
    "then",
)
READY = Family("sealgate_ready", GAUGE, (), "1 while /readyz says yes, or else 0")

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
