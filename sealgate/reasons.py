"""Every reason for which Sealgate refuses, and the one exception that carries it.

A caller sees the reason's name and its fixed sentence, never an exception's text, by which other
servers have leaked paths, SQL and scores. The detail is for our own log.
"""

from collections.abc import Collection, Mapping
from enum import Enum, auto, unique


class Kind(Enum):
    """The kind of an error; one table in the gateway maps it to a gRPC status."""

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


@unique
class Reason(Enum):
    """The fixed list: each has its kind, and the sentence that callers are shown."""

    # who is calling
    CREDENTIAL_MISSING = (Kind.UNAUTHENTICATED, "No credential was sent.")
    CREDENTIAL_AMBIGUOUS = (Kind.UNAUTHENTICATED, "More than one credential was sent.")
    TOKEN_MALFORMED = (Kind.UNAUTHENTICATED, "The token is not a well-formed JWT.")
    TOKEN_ALGORITHM = (Kind.UNAUTHENTICATED, "The token's algorithm is not accepted.")
    TOKEN_SIGNATURE = (Kind.UNAUTHENTICATED, "The token's signature does not verify.")
    TOKEN_EXPIRED = (Kind.UNAUTHENTICATED, "The token has expired.")
    TOKEN_NOT_YET_VALID = (Kind.UNAUTHENTICATED, "The token is not valid yet.")
    TOKEN_AUDIENCE = (Kind.UNAUTHENTICATED, "The token is meant for another audience.")
    TOKEN_ISSUER = (Kind.UNAUTHENTICATED, "The token's issuer is not trusted.")
    TOKEN_TYPE = (Kind.UNAUTHENTICATED, "The token's type does not identify a caller.")
    TOKEN_BINDING = (
        Kind.UNAUTHENTICATED,
        "The token is bound to a certificate that was not shown.",
    )
    LOGIN_CHALLENGE = (
        Kind.UNAUTHENTICATED,
        "The challenge was not made for this certificate, has ended, or was used.",
    )
    KEY_SET_UNREACHABLE = (Kind.UNAVAILABLE, "The issuer's keys cannot be fetched.")
    KEY_SET_REFUSED = (Kind.UNAVAILABLE, "The issuer's key set cannot be used.")
    API_KEY_MALFORMED = (Kind.UNAUTHENTICATED, "The API key is not of the right form.")
    API_KEY_INVALID = (Kind.UNAUTHENTICATED, "No such API key was issued here.")
    API_KEY_EXPIRED = (Kind.UNAUTHENTICATED, "The API key has expired.")
    API_KEY_REVOKED = (Kind.UNAUTHENTICATED, "The API key has been revoked.")
    CERTIFICATE_MALFORMED = (
        Kind.UNAUTHENTICATED,
        "The certificate cannot be read, or has a name of a form that is not accepted.",
    )
    CERTIFICATE_EXPIRED = (
        Kind.UNAUTHENTICATED,
        "The certificate has expired, or is not valid yet.",
    )
    CERTIFICATE_UNPINNED = (Kind.UNAUTHENTICATED, "The certificate is not pinned here.")
    PRINCIPAL_UNKNOWN = (Kind.UNAUTHENTICATED, "The policy names no such principal.")
    # rights
    ROLE_TOO_LOW = (Kind.DENIED, "The caller's roles do not allow this.")
    RULE_MISSING = (Kind.DENIED, "No rule allows this method.")
    RIGHT_MISSING = (
        Kind.DENIED,
        "No right in the policy allows the caller to do this with this model and alias.",
    )
    SIGNER_MISMATCH = (Kind.DENIED, "The document is not signed by its author.")
    SELF_APPROVAL = (Kind.DENIED, "A person who published or proposed a version cannot approve it.")
    PROMOTION_ONLY = (
        Kind.DENIED,
        "Loading follows from promotions: promote, roll back or revoke a version instead.",
    )
    OUTCOME_FOREIGN = (Kind.DENIED, "The answer was another caller's.")
    # the request
    MESSAGE_MALFORMED = (Kind.INVALID, "The request is not a valid message of this method.")
    MESSAGE_TOO_LARGE = (Kind.INVALID, "The request is larger than the gateway takes.")
    NAME_MALFORMED = (Kind.INVALID, "A name must match [a-z][a-z0-9-]{0,62}.")
    VERSION_MALFORMED = (Kind.INVALID, "A version must be a positive decimal number.")
    PARAMETER_MALFORMED = (Kind.INVALID, "A request parameter has the wrong type or value.")
    PAGE_TOKEN_MALFORMED = (
        Kind.INVALID,
        "The page token was not issued by this list for this filter.",
    )
    FILTER_MALFORMED = (Kind.INVALID, "The filter has a wrong form or an unknown field.")
    TENSOR_NAME = (Kind.INVALID, "An input is missing or is not one of the model's.")
    TENSOR_DATATYPE = (Kind.INVALID, "An input's data type is not the model's.")
    TENSOR_SHAPE = (Kind.INVALID, "An input's shape is not one that the model takes.")
    TENSOR_BYTES = (Kind.INVALID, "An input's contents do not match its type and shape.")
    TENSOR_TEXT = (
        Kind.INVALID,
        "A text is not UTF-8, holds a NUL, has no tokens, or is longer than the model takes.",
    )
    PROMPT_TOO_LONG = (Kind.INVALID, "The prompt has more tokens than the model takes.")
    CHAT_MALFORMED = (
        Kind.INVALID,
        "The chat is not a valid list of messages, or the model takes no chats.",
    )
    METHOD_UNSUITED = (
        Kind.INVALID,
        "Models of this kind do not take this method: language models generate, others infer.",
    )
    TENSOR_DUPLICATE = (Kind.INVALID, "An input or output is named twice.")
    TENSOR_NOT_FINITE = (Kind.INVALID, "An input holds NaN or infinity.")
    TENSOR_RANGE = (Kind.INVALID, "A value lies outside what its data type or the model allows.")
    RAW_CONTENTS_MISMATCH = (
        Kind.INVALID,
        "Raw contents must have one entry for each input, with no typed contents beside them.",
    )
    OUTPUT_UNKNOWN = (Kind.INVALID, "A requested output is not one of the model's.")
    OUTCOME_MISMATCH = (Kind.INVALID, "The outputs are not those that the entry commits to.")
    OUTCOME_MALFORMED = (Kind.INVALID, "The outcome is not a possible answer of the model.")
    OUTCOME_GROUP = (Kind.INVALID, "The policy lists no such group.")
    BATCH_TOO_LARGE = (Kind.INVALID, "The request has more rows than a batch may have.")
    ADVERSARIAL_INPUT = (Kind.INVALID, "Screening refused the input.")
    PROMPT_INJECTION = (Kind.INVALID, "Screening took the prompt for an injection.")
    STEP_UP = (Kind.PRECONDITION, "The request is answered once a second person allows it.")
    ALLOWANCE_MISMATCH = (Kind.DENIED, "The allowance is for another request or caller.")
    ALLOWANCE_SIGNER = (
        Kind.DENIED,
        "The allowance is not signed by another person whose role may allow requests.",
    )
    ALLOWANCE_EXPIRED = (
        Kind.DENIED,
        "The allowance is not valid yet, has expired, or lasts longer than the policy permits.",
    )
    ALLOWANCE_USED = (Kind.DENIED, "The allowance has been used; it is good for one answer.")
    SESSION_BLOCKED = (
        Kind.DENIED,
        "The caller's requests, taken together, look like an attack; an operator can say more.",
    )
    # files and documents
    PATH_UNSAFE = (Kind.INVALID, "A file's name is not a plain, flat name.")
    FILE_DUPLICATE = (Kind.INVALID, "A file was sent twice.")
    FILE_MISSING = (Kind.INVALID, "A named file is missing.")
    FILE_SURPLUS = (Kind.INVALID, "A file was sent that the manifest does not name.")
    FILE_TOO_LARGE = (Kind.INVALID, "A file is larger than the manifest or the limit says.")
    DIGEST_MISMATCH = (Kind.INVALID, "A file's bytes do not have the stated digest.")
    FORMAT_REFUSED = (Kind.INVALID, "A file has a format that is not accepted.")
    COPY_REFUSED = (
        Kind.INVALID,
        "The file is a copy that was exported for a recipient; it cannot become a version.",
    )
    EXTERNAL_DATA = (Kind.INVALID, "An ONNX file refers to data outside itself.")
    GRADIENT_MISSING = (
        Kind.INVALID,
        "An operator of the graph has no gradient, so FGSM cannot screen the model.",
    )
    GRAPH_MISMATCH = (Kind.INVALID, "The version's graphs do not agree with one another.")
    EVIDENCE_MISMATCH = (Kind.INVALID, "The evidence does not belong to this version.")
    DOCUMENT_MALFORMED = (Kind.INVALID, "A document is not in its canonical form.")
    SIGNATURE_INVALID = (Kind.INVALID, "A signature does not verify.")
    WEBAUTHN_MALFORMED = (Kind.INVALID, "The passkey's response is incomplete.")
    WEBAUTHN_TYPE = (Kind.INVALID, "The passkey signed something other than an assertion.")
    WEBAUTHN_CHALLENGE = (Kind.INVALID, "The passkey signed for another document.")
    WEBAUTHN_ORIGIN = (Kind.INVALID, "The passkey was used at an origin that is not its own.")
    WEBAUTHN_RP_ID = (Kind.INVALID, "The passkey was used for another relying party.")
    WEBAUTHN_USER = (Kind.INVALID, "The authenticator did not verify the passkey's owner.")
    WEBAUTHN_COUNTER = (
        Kind.DENIED,
        "The passkey's signature counter has not grown: another device may have the same key.",
    )
    THRESHOLD_NOT_MET = (Kind.INVALID, "Too few distinct keys have signed.")
    PROOF_INVALID = (Kind.INVALID, "A proof does not verify.")
    RECEIPT_MISSING = (Kind.INVALID, "An answer came without its receipt.")
    RECEIPT_MISMATCH = (Kind.INVALID, "A receipt is for another call.")
    RECEIPT_OUTDATED = (
        Kind.INVALID,
        "The receipt's format is too old: it does not cover alias and parameters.",
    )
    KEY_FILE_EXPOSED = (Kind.PRECONDITION, "A private key's file can be read by others.")
    KEY_FILE_EXISTS = (Kind.EXISTS, "A key's file is never overwritten.")
    SOCKET_EXPOSED = (Kind.PRECONDITION, "A socket can be used by others than its owner.")
    KEY_UNREADABLE = (Kind.PRECONDITION, "A private key cannot be read.")
    KEY_UNAVAILABLE = (Kind.UNAVAILABLE, "The token that holds a key does not sign.")
    KEY_WITHDRAWN = (Kind.PRECONDITION, "The policy no longer lists a key that signed.")
    UPLOAD_FOREIGN = (Kind.DENIED, "The upload is somebody else's.")
    # what is asked for
    PATH_UNKNOWN = (Kind.NOT_FOUND, "There is no such method and path.")
    MODEL_UNKNOWN = (Kind.NOT_FOUND, "There is no such model.")
    VERSION_UNKNOWN = (Kind.NOT_FOUND, "The model has no such version.")
    ALIAS_UNKNOWN = (Kind.NOT_FOUND, "The model has no such alias.")
    PROPOSAL_UNKNOWN = (Kind.NOT_FOUND, "There is no such proposal.")
    COMMITMENT_UNKNOWN = (Kind.NOT_FOUND, "There is no such watermark commitment.")
    KEY_UNKNOWN = (Kind.NOT_FOUND, "No policy of the chain lists a key of that id.")
    API_KEY_UNKNOWN = (Kind.NOT_FOUND, "There is no API key of that id.")
    UPLOAD_UNKNOWN = (Kind.NOT_FOUND, "No such upload is open at this gateway.")
    LOG_UNKNOWN = (Kind.NOT_FOUND, "There is no log of that origin here.")
    ENTRY_UNKNOWN = (Kind.NOT_FOUND, "The log has no such entry or size.")
    LOG_UNSEEN = (Kind.NOT_FOUND, "A log that a policy names was not shown, so it was not checked.")
    ENTRY_UNANCHORED = (Kind.PRECONDITION, "No anchor in the registry's log covers this yet.")
    MODEL_EXISTS = (Kind.EXISTS, "A model of that name exists.")
    VERSION_EXISTS = (Kind.EXISTS, "These bytes are registered as a version already.")
    APPROVAL_EXISTS = (Kind.EXISTS, "This person has approved the proposal already.")
    COMMITMENT_EXISTS = (Kind.EXISTS, "Somebody else made this commitment already.")
    COMMITMENT_USED = (Kind.EXISTS, "The commitment is used for another version already.")
    REQUEST_ID_REUSED = (Kind.EXISTS, "The caller has made another request under this id.")
    OUTCOME_EXISTS = (Kind.EXISTS, "Another outcome of this answer was reported before.")
    # state
    API_KEY_ENDED = (Kind.PRECONDITION, "The API key has been revoked already.")
    API_KEYS_OFF = (Kind.PRECONDITION, "This gateway has no key for API keys.")
    ANSWER_WITHHELD = (
        Kind.PRECONDITION,
        "The answer contained something that the policy permits in no answer.",
    )
    VERSION_NOT_LIVE = (
        Kind.PRECONDITION,
        "No live pointer names this version, or it could not be loaded.",
    )
    VERSION_REVOKED = (Kind.PRECONDITION, "The version has been revoked.")
    OUTCOME_UNWANTED = (Kind.PRECONDITION, "The policy accepts no outcomes for this model.")
    OUTCOME_UNSUITABLE = (
        Kind.PRECONDITION,
        "The entry is not an answer with classes, labels or numbers.",
    )
    VERSION_ALTERED = (Kind.PRECONDITION, "The stored bytes are not those that were signed.")
    ENGINE_UNSUITABLE = (
        Kind.PRECONDITION,
        "The engine that is configured cannot run a version of this kind.",
    )
    GOLDEN_MISMATCH = (Kind.PRECONDITION, "The version does not reproduce its golden answers.")
    DERIVATION_MISMATCH = (
        Kind.PRECONDITION,
        "The INT8 model does not follow from the signed float32 model.",
    )
    REPLAY_MISMATCH = (Kind.PRECONDITION, "The version's answer differs from the receipt's.")
    SCREENING_REQUIRED = (
        Kind.PRECONDITION,
        "The version has no screening, and the policy exempts no model of its risk tier.",
    )
    CALIBRATION_TOO_SMALL = (
        Kind.PRECONDITION,
        "There are too few clean rows to fit or calibrate a detector.",
    )
    WORKER_LIMIT = (
        Kind.PRECONDITION,
        "Running the model, or checking its files, exceeded the limits of a worker.",
    )
    WORKER_FORBIDDEN = (
        Kind.PRECONDITION,
        "The worker that ran the model tried to use files, the network or processes.",
    )
    WORKER_FAILED = (
        Kind.PRECONDITION,
        "The worker that ran the model ended early, or gave an invalid reply.",
    )
    WORKER_UNCONFINED = (
        Kind.PRECONDITION,
        "This system cannot confine a worker that runs unapproved models.",
    )
    RECIPE_INVALID = (Kind.INVALID, "The recipe is not valid.")
    TRAINING_DATA = (
        Kind.PRECONDITION,
        "The data lack a column, a class or rows that the recipe asks for.",
    )
    LOSS_NOT_FINITE = (Kind.PRECONDITION, "The loss is no longer a number.")
    RUN_FOREIGN = (Kind.EXISTS, "The output folder belongs to another recipe.")
    SUM_REFUSED = (Kind.DENIED, "A client refuses to add its update to this sum.")
    CLIENTS_TOO_FEW = (Kind.UNAVAILABLE, "Too few clients answered to hide each one's update.")
    ENROLMENT_TOKEN = (Kind.UNAUTHENTICATED, "The enrolment token is not one that was issued here.")
    ENROLMENT_EXPIRED = (Kind.UNAUTHENTICATED, "The enrolment token has expired.")
    ENROLMENT_USED = (Kind.UNAUTHENTICATED, "The enrolment token was used by another key.")
    ENROLMENT_KEY = (
        Kind.INVALID,
        "The client's key is not P-384, has enrolled before, or did not sign this enrolment.",
    )
    ENROLMENT_RECIPE = (Kind.PRECONDITION, "The client's recipe is not the server's.")
    FEDERATION_LOST = (
        Kind.UNAVAILABLE,
        "The server of the federation does not answer, or shows another certificate.",
    )
    PROCESS_LOST = (Kind.UNAVAILABLE, "A process that shares the training ended too early.")
    CHECKPOINT_REFUSED = (
        Kind.INVALID,
        "The checkpoint is not safetensors and plain JSON of a known architecture.",
    )
    WATERMARK_CAPACITY = (Kind.PRECONDITION, "The model has too few weights to carry a watermark.")
    WATERMARK_COST = (
        Kind.PRECONDITION,
        "Marking costs more of the model's accuracy than was allowed.",
    )
    ATTENTION_COST = (
        Kind.PRECONDITION,
        "Attention windows cost a language model more perplexity or recall than was allowed.",
    )
    WATERMARK_FAINT = (Kind.PRECONDITION, "The watermark cannot be read from the weights.")
    APPROVALS_MISSING = (Kind.PRECONDITION, "The policy asks for more approvals.")
    APPROVALS_EXPIRED = (
        Kind.PRECONDITION,
        "Approvals are older than the policy permits: propose the version again.",
    )
    SECURITY_KEY_MISSING = (
        Kind.PRECONDITION,
        "The policy asks for an approval with a security key, made without a browser.",
    )
    EVIDENCE_MISSING = (Kind.PRECONDITION, "The policy asks for more evidence.")
    EVIDENCE_TOO_MUCH = (
        Kind.PRECONDITION,
        "The caller has reached the limit of evidence for the version.",
    )
    PROPOSAL_EXPIRED = (Kind.PRECONDITION, "The proposal's time has run out.")
    PROPOSAL_REJECTED = (
        Kind.PRECONDITION,
        "The proposal was rejected, or withdrawn by its proposer: a new one must be made.",
    )
    COMMENTS_TOO_MANY = (
        Kind.PRECONDITION,
        "The caller has reached the limit of comments on the proposal.",
    )
    ROLLBACK_TARGET = (
        Kind.PRECONDITION,
        "The alias cannot return to that version: it never named it, or names it now.",
    )
    POINTER_INVALID = (Kind.PRECONDITION, "The pointer does not follow from its proposal.")
    POINTER_STALE = (Kind.PRECONDITION, "No fresh statement covers the pointer.")
    UPLOAD_OFFSET = (
        Kind.STALE,
        "The bytes do not continue the file, which ends at the offset in the metadata.",
    )
    SEQUENCE_STALE = (Kind.STALE, "The pointer has moved since.")
    ETAG_STALE = (Kind.STALE, "The state that the etag stands for has changed since.")
    POLICY_INVALID = (Kind.PRECONDITION, "The policy is not valid.")
    POLICY_EXPIRED = (Kind.PRECONDITION, "The policy has expired.")
    POLICY_ROLLED_BACK = (Kind.PRECONDITION, "The policy is older than one seen before.")
    # capacity and availability
    QUEUE_FULL = (Kind.EXHAUSTED, "The queue is full; try again later.")
    RATE_EXCEEDED = (Kind.EXHAUSTED, "The caller asks more often than its quota allows.")
    CONCURRENCY_EXCEEDED = (
        Kind.EXHAUSTED,
        "The caller has as many calls in progress as its quota allows.",
    )
    QUOTA_SPENT = (Kind.EXHAUSTED, "The caller's quota for the day is spent.")
    TOKENS_SPENT = (
        Kind.EXHAUSTED,
        "The caller's quota of tokens has no room for the prompt and the answer asked for.",
    )
    UPLOADS_TOO_MANY = (Kind.EXHAUSTED, "The caller has reached the limit of open uploads.")
    STORAGE_FULL = (Kind.EXHAUSTED, "There is no room for the file.")
    QUOTA_UNKNOWN = (Kind.UNAVAILABLE, "The store that counts quotas does not answer.")
    SESSION_UNKNOWN = (Kind.UNAVAILABLE, "The store of callers' sessions does not answer.")
    DEADLINE_TOO_SHORT = (Kind.TOO_LATE, "Too little time is left to answer.")
    DRAINING = (Kind.UNAVAILABLE, "The gateway is shutting down.")
    OUT_OF_MEMORY = (Kind.EXHAUSTED, "The engine has too little memory for the request.")
    RUN_HUNG = (Kind.UNAVAILABLE, "The model's run took too long and was terminated.")
    REGISTRY_UNAVAILABLE = (Kind.UNAVAILABLE, "The registry cannot be reached.")
    ENGINE_UNAVAILABLE = (Kind.UNAVAILABLE, "The engine that runs the version cannot be reached.")
    ANSWER_MALFORMED = (Kind.INTERNAL, "The engine's answer does not have the model's form.")
    RECORD_FAILED = (Kind.UNAVAILABLE, "The request could not be recorded, so it fails.")
    ERASURE_UNFINISHED = (
        Kind.UNAVAILABLE,
        "The erasure has begun and is not finished; repeat it to finish it.",
    )
    INDEX_KEY_MISMATCH = (
        Kind.PRECONDITION,
        "The subjects database does not have the index key of the answer log.",
    )
    LOG_FENCED = (Kind.UNAVAILABLE, "Another writer has taken over the log.")
    CALL_FAILED = (Kind.UNAVAILABLE, "The gateway cannot be reached, or gave no reason.")
    ENTRY_PRUNED = (Kind.NOT_FOUND, "The log has pruned that entry; its hash is kept.")
    ENTRY_ERASED = (
        Kind.NOT_FOUND,
        "The entry's subject was erased; what the entry proves still holds.",
    )
    OPENING_MISSING = (Kind.DATA_LOSS, "The entry's content is gone, and no erasure explains it.")
    RETENTION_HOLDS = (Kind.PRECONDITION, "These entries must be kept for longer.")
    WITNESS_REFUSED = (Kind.UNAVAILABLE, "A witness does not cosign.")
    WITNESSES_TOO_FEW = (Kind.DATA_LOSS, "Too few witnesses have cosigned the log.")
    TIMESTAMP_REFUSED = (Kind.UNAVAILABLE, "The authority gave no time stamp.")
    TIMESTAMP_MISMATCH = (
        Kind.INVALID,
        "A time stamp is for other bytes, another request, policy or time.",
    )
    TIMESTAMP_MISSING = (Kind.PRECONDITION, "The log has no time stamp.")
    LOG_INCONSISTENT = (Kind.DATA_LOSS, "A log contradicts what it has signed.")
    REASON_UNKNOWN = (Kind.INTERNAL, "The reason that was given is unknown to this release.")
    INTERNAL = (Kind.INTERNAL, "Something went wrong; the gateway's log says what.")

    def __init__(self, kind: Kind, sentence: str) -> None:
        self.kind = kind
        self.sentence = sentence

    @classmethod
    def named(cls, name: str) -> "Reason":
        """The reason of that name; REASON_UNKNOWN for one that a newer release may have given."""
        return cls.__members__.get(name, cls.REASON_UNKNOWN)


class SealgateError(Exception):
    """A refusal: `reason` is what the caller may learn, `detail` is for our own log and must hold
    no secret. `retry` says after how many seconds another try makes sense, if that is known.
    Callers learn it too, and `facts`: the values that they need (metadata of google.rpc.ErrorInfo).
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        retry: float | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{reason.name}: {detail or reason.sentence}")
        self.reason = reason
        self.detail = detail
        self.retry = retry
        self.facts = dict(facts or {})


def roles_needed(roles: Collection[str]) -> dict[str, str]:
    """The facts of ROLE_TOO_LOW: any one of these roles would be enough."""
    return {"roles": ", ".join(sorted(roles))}


Refusal = SealgateError  # its name in release 0.1; release 0.3 will not have it
