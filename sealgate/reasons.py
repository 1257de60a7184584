"""Every reason for which Sealgate refuses, and the one exception that carries it.

A caller sees the reason's name and its fixed sentence, never the text of an exception: other
servers have leaked paths, SQL and scores that way. The detail of a `Refusal` is for our own log.
"""

from enum import Enum, StrEnum, auto


class Kind(Enum):
    """What went wrong, coarsely; one table in the gateway maps it to a gRPC status."""

    UNAUTHENTICATED = auto()
    DENIED = auto()
    INVALID = auto()
    NOT_FOUND = auto()
    EXISTS = auto()
    PRECONDITION = auto()
    STALE = auto()
    EXHAUSTED = auto()
    UNAVAILABLE = auto()
    TOO_LATE = auto()
    DATA_LOSS = auto()
    INTERNAL = auto()


class Reason(StrEnum):
    """The fixed list. Each member has its kind and its sentence in `_TABLE`."""

    # who is calling
    CREDENTIAL_MISSING = auto()
    CREDENTIAL_AMBIGUOUS = auto()
    TOKEN_MALFORMED = auto()
    TOKEN_ALGORITHM = auto()
    TOKEN_SIGNATURE = auto()
    TOKEN_EXPIRED = auto()
    TOKEN_NOT_YET_VALID = auto()
    TOKEN_AUDIENCE = auto()
    TOKEN_ISSUER = auto()
    TOKEN_BINDING = auto()
    KEY_SET_UNREACHABLE = auto()
    KEY_SET_REFUSED = auto()
    API_KEY_MALFORMED = auto()
    API_KEY_INVALID = auto()
    API_KEY_EXPIRED = auto()
    API_KEY_REVOKED = auto()
    PRINCIPAL_UNKNOWN = auto()
    # may they
    ROLE_TOO_LOW = auto()
    RULE_MISSING = auto()
    RIGHT_MISSING = auto()
    SIGNER_MISMATCH = auto()
    SELF_APPROVAL = auto()
    PROMOTION_ONLY = auto()
    # the request
    MESSAGE_MALFORMED = auto()
    MESSAGE_TOO_LARGE = auto()
    NAME_MALFORMED = auto()
    VERSION_MALFORMED = auto()
    PARAMETER_MALFORMED = auto()
    TENSOR_NAME = auto()
    TENSOR_DATATYPE = auto()
    TENSOR_SHAPE = auto()
    TENSOR_BYTES = auto()
    TENSOR_DUPLICATE = auto()
    TENSOR_NOT_FINITE = auto()
    TENSOR_RANGE = auto()
    RAW_CONTENTS_MISMATCH = auto()
    OUTPUT_UNKNOWN = auto()
    BATCH_TOO_LARGE = auto()
    ADVERSARIAL_INPUT = auto()
    # files and documents
    PATH_UNSAFE = auto()
    FILE_DUPLICATE = auto()
    FILE_MISSING = auto()
    FILE_SURPLUS = auto()
    FILE_TOO_LARGE = auto()
    DIGEST_MISMATCH = auto()
    FORMAT_REFUSED = auto()
    EXTERNAL_DATA = auto()
    GRAPH_MISMATCH = auto()
    EVIDENCE_MISMATCH = auto()
    DOCUMENT_MALFORMED = auto()
    SIGNATURE_INVALID = auto()
    THRESHOLD_NOT_MET = auto()
    PROOF_INVALID = auto()
    RECEIPT_MISSING = auto()
    RECEIPT_MISMATCH = auto()
    KEY_FILE_EXPOSED = auto()
    KEY_FILE_EXISTS = auto()
    KEY_UNREADABLE = auto()
    KEY_WITHDRAWN = auto()
    # what is asked for
    MODEL_UNKNOWN = auto()
    VERSION_UNKNOWN = auto()
    ALIAS_UNKNOWN = auto()
    PROPOSAL_UNKNOWN = auto()
    COMMITMENT_UNKNOWN = auto()
    API_KEY_UNKNOWN = auto()
    LOG_UNKNOWN = auto()
    ENTRY_UNKNOWN = auto()
    MODEL_EXISTS = auto()
    VERSION_EXISTS = auto()
    APPROVAL_EXISTS = auto()
    COMMITMENT_EXISTS = auto()
    COMMITMENT_USED = auto()
    # state
    API_KEY_ENDED = auto()
    API_KEYS_OFF = auto()
    VERSION_NOT_LIVE = auto()
    VERSION_REVOKED = auto()
    VERSION_ALTERED = auto()
    GOLDEN_MISMATCH = auto()
    CALIBRATION_TOO_SMALL = auto()
    WATERMARK_CAPACITY = auto()
    WATERMARK_FAINT = auto()
    APPROVALS_MISSING = auto()
    PROPOSAL_EXPIRED = auto()
    ROLLBACK_TARGET = auto()
    POINTER_INVALID = auto()
    POINTER_STALE = auto()
    SEQUENCE_STALE = auto()
    POLICY_INVALID = auto()
    POLICY_EXPIRED = auto()
    POLICY_ROLLED_BACK = auto()
    # capacity and weather
    QUEUE_FULL = auto()
    RATE_EXCEEDED = auto()
    CONCURRENCY_EXCEEDED = auto()
    QUOTA_SPENT = auto()
    QUOTA_UNKNOWN = auto()
    DEADLINE_TOO_SHORT = auto()
    DRAINING = auto()
    REGISTRY_UNAVAILABLE = auto()
    RECORD_FAILED = auto()
    LOG_FENCED = auto()
    CALL_FAILED = auto()
    LOG_INCONSISTENT = auto()
    INTERNAL = auto()

    @property
    def kind(self) -> Kind:
        return _TABLE[self][0]

    @property
    def sentence(self) -> str:
        return _TABLE[self][1]


_TABLE: dict[Reason, tuple[Kind, str]] = {
    Reason.CREDENTIAL_MISSING: (Kind.UNAUTHENTICATED, "No credential was sent."),
    Reason.CREDENTIAL_AMBIGUOUS: (Kind.UNAUTHENTICATED, "More than one credential was sent."),
    Reason.TOKEN_MALFORMED: (Kind.UNAUTHENTICATED, "The token is not a well-formed JWT."),
    Reason.TOKEN_ALGORITHM: (Kind.UNAUTHENTICATED, "The token's algorithm is not accepted."),
    Reason.TOKEN_SIGNATURE: (Kind.UNAUTHENTICATED, "The token's signature does not verify."),
    Reason.TOKEN_EXPIRED: (Kind.UNAUTHENTICATED, "The token has expired."),
    Reason.TOKEN_NOT_YET_VALID: (Kind.UNAUTHENTICATED, "The token is not valid yet."),
    Reason.TOKEN_AUDIENCE: (Kind.UNAUTHENTICATED, "The token is meant for another audience."),
    Reason.TOKEN_ISSUER: (Kind.UNAUTHENTICATED, "The token's issuer is not trusted."),
    Reason.TOKEN_BINDING: (
        Kind.UNAUTHENTICATED,
        "The token is bound to a certificate that was not shown.",
    ),
    Reason.KEY_SET_UNREACHABLE: (Kind.UNAVAILABLE, "The issuer's keys cannot be fetched."),
    Reason.KEY_SET_REFUSED: (Kind.UNAVAILABLE, "The issuer's key set is not one to be used."),
    Reason.API_KEY_MALFORMED: (Kind.UNAUTHENTICATED, "The API key is not of the right form."),
    Reason.API_KEY_INVALID: (Kind.UNAUTHENTICATED, "The API key is not one that was issued here."),
    Reason.API_KEY_EXPIRED: (Kind.UNAUTHENTICATED, "The API key has expired."),
    Reason.API_KEY_REVOKED: (Kind.UNAUTHENTICATED, "The API key has been revoked."),
    Reason.PRINCIPAL_UNKNOWN: (Kind.UNAUTHENTICATED, "The policy names no such principal."),
    Reason.ROLE_TOO_LOW: (Kind.DENIED, "The caller's roles do not allow this."),
    Reason.RULE_MISSING: (Kind.DENIED, "No rule allows this method."),
    Reason.RIGHT_MISSING: (
        Kind.DENIED,
        "No right of the policy allows the caller this, on this model and alias.",
    ),
    Reason.SIGNER_MISMATCH: (Kind.DENIED, "The document is not signed by its author."),
    Reason.SELF_APPROVAL: (Kind.DENIED, "Who published or proposed a version cannot approve it."),
    Reason.PROMOTION_ONLY: (
        Kind.DENIED,
        "What is loaded follows from promotions: promote, roll back or revoke a version instead.",
    ),
    Reason.MESSAGE_TOO_LARGE: (Kind.INVALID, "The request is larger than the gateway takes."),
    Reason.MESSAGE_MALFORMED: (Kind.INVALID, "The request is not a message of this method."),
    Reason.NAME_MALFORMED: (Kind.INVALID, "A name must match [a-z][a-z0-9-]{0,62}."),
    Reason.VERSION_MALFORMED: (Kind.INVALID, "A version must be a positive decimal number."),
    Reason.PARAMETER_MALFORMED: (Kind.INVALID, "A request parameter has the wrong type or value."),
    Reason.TENSOR_NAME: (Kind.INVALID, "An input is missing or is not one of the model's."),
    Reason.TENSOR_DATATYPE: (Kind.INVALID, "An input's data type is not the model's."),
    Reason.TENSOR_SHAPE: (Kind.INVALID, "An input's shape is not one that the model takes."),
    Reason.TENSOR_BYTES: (Kind.INVALID, "An input's contents do not match its type and shape."),
    Reason.TENSOR_DUPLICATE: (Kind.INVALID, "An input or output is named twice."),
    Reason.TENSOR_NOT_FINITE: (Kind.INVALID, "An input holds NaN or infinity."),
    Reason.TENSOR_RANGE: (
        Kind.INVALID,
        "A value lies outside what its data type or the model allows.",
    ),
    Reason.RAW_CONTENTS_MISMATCH: (
        Kind.INVALID,
        "Raw contents must have one entry for each input, with no typed contents beside them.",
    ),
    Reason.OUTPUT_UNKNOWN: (Kind.INVALID, "A requested output is not one of the model's."),
    Reason.BATCH_TOO_LARGE: (Kind.INVALID, "The request holds more rows than a batch may."),
    Reason.ADVERSARIAL_INPUT: (Kind.INVALID, "Screening refused the input."),
    Reason.PATH_UNSAFE: (Kind.INVALID, "A file's name is not a plain, flat name."),
    Reason.FILE_DUPLICATE: (Kind.INVALID, "A file was sent twice."),
    Reason.FILE_MISSING: (Kind.INVALID, "A file that the manifest names was not sent."),
    Reason.FILE_SURPLUS: (Kind.INVALID, "A file was sent that the manifest does not name."),
    Reason.FILE_TOO_LARGE: (Kind.INVALID, "A file is larger than the manifest or the limit says."),
    Reason.DIGEST_MISMATCH: (Kind.INVALID, "A file's bytes do not have the stated digest."),
    Reason.FORMAT_REFUSED: (Kind.INVALID, "A file is not of a format that is accepted."),
    Reason.EXTERNAL_DATA: (Kind.INVALID, "An ONNX file refers to data outside itself."),
    Reason.GRAPH_MISMATCH: (Kind.INVALID, "The version's graphs do not agree with one another."),
    Reason.EVIDENCE_MISMATCH: (Kind.INVALID, "The evidence is not that of this version."),
    Reason.DOCUMENT_MALFORMED: (Kind.INVALID, "A document is not in its canonical form."),
    Reason.SIGNATURE_INVALID: (Kind.INVALID, "A signature does not verify."),
    Reason.THRESHOLD_NOT_MET: (Kind.INVALID, "Too few distinct keys have signed."),
    Reason.PROOF_INVALID: (Kind.INVALID, "A proof does not verify."),
    Reason.RECEIPT_MISSING: (Kind.INVALID, "An answer came without its receipt."),
    Reason.RECEIPT_MISMATCH: (Kind.INVALID, "A receipt stands for another call."),
    Reason.KEY_FILE_EXPOSED: (Kind.PRECONDITION, "A private key's file can be read by others."),
    Reason.KEY_FILE_EXISTS: (Kind.EXISTS, "A key's file is never overwritten."),
    Reason.KEY_UNREADABLE: (Kind.PRECONDITION, "A private key cannot be read."),
    Reason.KEY_WITHDRAWN: (Kind.PRECONDITION, "The policy no longer lists a key that signed."),
    Reason.MODEL_UNKNOWN: (Kind.NOT_FOUND, "There is no such model."),
    Reason.VERSION_UNKNOWN: (Kind.NOT_FOUND, "The model has no such version."),
    Reason.ALIAS_UNKNOWN: (Kind.NOT_FOUND, "The model has no such alias."),
    Reason.PROPOSAL_UNKNOWN: (Kind.NOT_FOUND, "There is no such proposal."),
    Reason.COMMITMENT_UNKNOWN: (Kind.NOT_FOUND, "There is no such watermark commitment."),
    Reason.API_KEY_UNKNOWN: (Kind.NOT_FOUND, "There is no API key of that id."),
    Reason.LOG_UNKNOWN: (Kind.NOT_FOUND, "There is no log of that origin here."),
    Reason.ENTRY_UNKNOWN: (Kind.NOT_FOUND, "The log has no such entry or size."),
    Reason.MODEL_EXISTS: (Kind.EXISTS, "A model of that name exists."),
    Reason.VERSION_EXISTS: (Kind.EXISTS, "These bytes are registered as a version already."),
    Reason.APPROVAL_EXISTS: (Kind.EXISTS, "This person has approved the proposal already."),
    Reason.COMMITMENT_EXISTS: (Kind.EXISTS, "Somebody else made this commitment already."),
    Reason.COMMITMENT_USED: (Kind.EXISTS, "The commitment stands for another version already."),
    Reason.API_KEY_ENDED: (Kind.PRECONDITION, "The API key has been revoked already."),
    Reason.API_KEYS_OFF: (Kind.PRECONDITION, "This gateway has no key for API keys."),
    Reason.VERSION_NOT_LIVE: (
        Kind.PRECONDITION,
        "No live pointer names this version, or it could not be loaded.",
    ),
    Reason.VERSION_REVOKED: (Kind.PRECONDITION, "The version has been revoked."),
    Reason.VERSION_ALTERED: (Kind.PRECONDITION, "The stored bytes are not those that were signed."),
    Reason.GOLDEN_MISMATCH: (Kind.PRECONDITION, "The version's golden answers do not come out."),
    Reason.CALIBRATION_TOO_SMALL: (
        Kind.PRECONDITION,
        "There are too few clean rows to fit or calibrate a detector.",
    ),
    Reason.WATERMARK_CAPACITY: (
        Kind.PRECONDITION,
        "The model has too few weights to carry a watermark.",
    ),
    Reason.WATERMARK_FAINT: (Kind.PRECONDITION, "The watermark cannot be read from the weights."),
    Reason.APPROVALS_MISSING: (Kind.PRECONDITION, "The policy asks for more approvals."),
    Reason.PROPOSAL_EXPIRED: (Kind.PRECONDITION, "The proposal's time has run out."),
    Reason.ROLLBACK_TARGET: (Kind.PRECONDITION, "That version was never live under this alias."),
    Reason.POINTER_INVALID: (Kind.PRECONDITION, "The pointer does not follow from its proposal."),
    Reason.POINTER_STALE: (Kind.PRECONDITION, "No fresh statement covers the pointer."),
    Reason.SEQUENCE_STALE: (Kind.STALE, "The pointer has moved since."),
    Reason.POLICY_INVALID: (Kind.PRECONDITION, "The policy is not valid."),
    Reason.POLICY_EXPIRED: (Kind.PRECONDITION, "The policy has expired."),
    Reason.POLICY_ROLLED_BACK: (Kind.PRECONDITION, "The policy is older than one seen before."),
    Reason.QUEUE_FULL: (Kind.EXHAUSTED, "The queue is full; try again later."),
    Reason.RATE_EXCEEDED: (Kind.EXHAUSTED, "The caller asks more often than its quota allows."),
    Reason.CONCURRENCY_EXCEEDED: (
        Kind.EXHAUSTED,
        "The caller has as many calls in progress as its quota allows.",
    ),
    Reason.QUOTA_SPENT: (Kind.EXHAUSTED, "The caller's quota for the day is spent."),
    Reason.QUOTA_UNKNOWN: (Kind.UNAVAILABLE, "The place where quotas are counted does not answer."),
    Reason.DEADLINE_TOO_SHORT: (Kind.TOO_LATE, "Too little time is left to answer."),
    Reason.DRAINING: (Kind.UNAVAILABLE, "The gateway is shutting down."),
    Reason.REGISTRY_UNAVAILABLE: (Kind.UNAVAILABLE, "The registry cannot be reached."),
    Reason.RECORD_FAILED: (Kind.UNAVAILABLE, "The request could not be recorded, so it fails."),
    Reason.LOG_FENCED: (Kind.UNAVAILABLE, "Another writer has taken over the log."),
    Reason.CALL_FAILED: (Kind.UNAVAILABLE, "The gateway cannot be reached, or gave no reason."),
    Reason.LOG_INCONSISTENT: (Kind.DATA_LOSS, "A log contradicts what it has signed."),
    Reason.INTERNAL: (Kind.INTERNAL, "Something went wrong; the gateway's log says what."),
}


class Refusal(Exception):
    """Raised wherever something is refused.

    `reason` is what the caller may learn; `detail` is for our own log and must hold no secret.
    `retry` is in how many seconds it may go otherwise, where that is known; callers learn it too.
    """

    def __init__(self, reason: Reason, detail: str = "", retry: float | None = None) -> None:
        super().__init__(f"{reason.name}: {detail or reason.sentence}")
        self.reason = reason
        self.detail = detail
        self.retry = retry
