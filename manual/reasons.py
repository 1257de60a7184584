"""Writes docs/reference/reasons.md: every reason for a refusal, from `sealgate.reasons`."""

import inspect
import re
from collections.abc import Iterator

from gateway.transport.http import bodies as http
from sealgate.reasons import Kind, Reason
from sealgate.remote.errors import DOMAIN, STATUS

_HEAD = f"""\
# Why a call is refused

Generated from the code (`make docs`); a test holds this page against it.

Each refusal has one reason of this fixed list, in a `google.rpc.ErrorInfo` of the domain \
`{DOMAIN}` in the status's details; the status's message is the sentence below. Programs should \
use the reason, not the sentence. The `metadata` of the `ErrorInfo` has the values that a caller \
needs to continue; `RESOURCE_EXHAUSTED` comes with a `google.rpc.RetryInfo`. If the refusal of an \
inference request was recorded, its receipt is in the trailing metadata `sealgate-receipt-bin`. \
Over [HTTP](../how-to/http.md) the same is in a JSON body. Our own commands and our client raise \
some of these reasons too, as exceptions of the same names.
"""
_HEADING = re.compile(r"^    # (.+)$")
_MEMBER = re.compile(r"^    ([A-Z][A-Z0-9_]*) = \(")


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD]
    for heading, reasons in groups():
        rows = [
            f"| `{reason.name}` | `{STATUS[reason.kind].name}` | {http.STATUS[reason.kind]} "
            f"| {reason.sentence} | {advice(reason)} |"
            for reason in reasons
        ]
        head = [
            "| reason | gRPC status | HTTP | what it means | what to do |",
            "|---|---|---|---|---|",
        ]
        parts += [f"## {heading[0].upper()}{heading[1:]}\n", "\n".join([*head, *rows]), ""]
    return "\n".join(parts)


def groups() -> Iterator[tuple[str, list[Reason]]]:
    """The reasons below each comment of the list, in its order."""
    heading, members = "reasons", list[Reason]()
    for line in inspect.getsource(Reason).splitlines():
        if found := _HEADING.match(line):
            if members:
                yield heading, members
            heading, members = found[1], []
        elif found := _MEMBER.match(line):
            members.append(Reason[found[1]])
    if members:
        yield heading, members


def advice(reason: Reason) -> str:
    """One or two sentences."""
    return _BY_REASON.get(reason) or _BY_KIND[reason.kind]


# The advice on a reason: its own, or else that of its kind.
_BY_KIND = {
    Kind.UNAUTHENTICATED: "Send a valid credential; the same one will be refused again.",
    Kind.DENIED: "Do not repeat it. Ask an admin who may do this.",
    Kind.INVALID: "Correct the request; the same one will be refused again.",
    Kind.NOT_FOUND: "Check the name or number.",
    Kind.EXISTS: "If you wanted exactly this, do nothing; otherwise choose another name or id.",
    Kind.PRECONDITION: "Do not repeat it before the state that it names has changed.",
    Kind.STALE: "Read the state again, decide again, then repeat.",
    Kind.EXHAUSTED: "Repeat it after the delay of `RetryInfo`.",
    Kind.UNAVAILABLE: "Repeat it with growing pauses, as long as your deadline lasts.",
    Kind.TOO_LATE: "Repeat it with more time, if you have it.",
    Kind.DATA_LOSS: "Stop. Keep what you have, and tell the operator and an auditor.",
    Kind.INTERNAL: "Tell the operator when it was; the gateway's log says more.",
}
_FILE_REFUSED = "See [if the file is refused](../how-to/ready-models.md#if-the-file-is-refused)."
_RUN_REFUSED = "See [why a run is refused](../how-to/training.md#why-a-run-is-refused)."
_INVITATION = "Ask the server's operator for an invitation of a new run."
_BY_REASON = {
    Reason.TOKEN_EXPIRED: "Fetch a new token and repeat.",
    Reason.TOKEN_NOT_YET_VALID: "Check the clocks: they may differ by 10 seconds.",
    Reason.CERTIFICATE_MALFORMED: "Have a certificate with one plain common name, or one SPIFFE "
    "ID, made for you ([keys](../how-to/keys.md)).",
    Reason.CERTIFICATE_EXPIRED: "Have a new certificate issued, and connect again with it.",
    Reason.REASON_UNKNOWN: "Go by the gRPC status, and install a newer release of the client.",
    Reason.API_KEY_EXPIRED: "Ask an admin for a new key.",
    Reason.API_KEY_REVOKED: "Ask an admin for a new key.",
    Reason.PRINCIPAL_UNKNOWN: "Ask an admin to name you in a new policy.",
    Reason.ROLE_TOO_LOW: "Use another person's profile, or ask an admin for a role: `roles` in the "
    "metadata names those of which one is enough.",
    Reason.LOGIN_CHALLENGE: "Begin the sign-in again.",
    Reason.PROMOTION_ONLY: "Promote, roll back or revoke instead.",
    Reason.SELF_APPROVAL: "Have somebody else approve.",
    Reason.BATCH_TOO_LARGE: "Send fewer rows; the model's `max_batch_size` says how many.",
    Reason.ADVERSARIAL_INPUT: "Do not send it again. See [screening](../explanation/screening.md).",
    Reason.STEP_UP: "Have a second person allow it, then ask with their allowance.",
    Reason.ALLOWANCE_EXPIRED: "Ask for another allowance.",
    Reason.ALLOWANCE_USED: "Ask for another allowance.",
    Reason.ALLOWANCE_MISMATCH: "Ask for an allowance of this request.",
    Reason.ALLOWANCE_SIGNER: "Have somebody else allow it, whose role the policy names.",
    Reason.PROMPT_INJECTION: "Leave out text that looks like an instruction to the model. See "
    "[the prompt classifier](../how-to/language-models.md#by-a-prompt-classifier).",
    Reason.ANSWER_WITHHELD: "Ask for something else: the policy's "
    "[rules for answers](../how-to/language-models.md#screen-answers) withhold this answer.",
    Reason.SESSION_BLOCKED: "Ask the operator; say whether you send many near duplicates.",
    Reason.UPLOAD_OFFSET: "Go on from the offset in the metadata.",
    Reason.UPLOAD_UNKNOWN: "Begin the upload again.",
    Reason.TIMESTAMP_MISSING: "Have the operator configure `[timestamps]`.",
    Reason.REQUEST_ID_REUSED: "Take a fresh UUID4 for each request.",
    Reason.PATH_UNKNOWN: "Compare with the paths of [the HTTP listener](../how-to/http.md).",
    Reason.VERSION_NOT_LIVE: "Ask without a number, or for one that is live.",
    Reason.VERSION_REVOKED: "Ask without a number: another version may be live.",
    Reason.VERSION_ALTERED: "Tell the operator and an auditor: stored bytes were changed.",
    Reason.APPROVALS_MISSING: "Have more people approve.",
    Reason.APPROVALS_EXPIRED: "Propose the version again, and have it approved anew.",
    Reason.PROPOSAL_EXPIRED: "Propose again.",
    Reason.PROPOSAL_REJECTED: "Read why with `sealgate model proposals`, then propose again.",
    Reason.POINTER_STALE: "Tell the operator: the registry's freshness is not renewed.",
    Reason.POLICY_EXPIRED: "Tell the admins: a new policy must be accepted.",
    Reason.POLICY_INVALID: "Correct the policy; `sealgate policy check FILE` says what is wrong.",
    Reason.POLICY_ROLLED_BACK: "Fetch the newest policy with `sealgate policy fetch`.",
    Reason.KEY_WITHDRAWN: "Sign again, with a key that the policy lists.",
    Reason.OUTCOME_UNWANTED: "Have the policy's section `outcomes` name the model.",
    Reason.API_KEYS_OFF: "Have the operator configure `[api_keys]`.",
    Reason.CHECKPOINT_REFUSED: "The error says what to change; see "
    "[what a language model may have](../how-to/language-models.md#publish-and-promote).",
    Reason.QUOTA_SPENT: "Wait for tomorrow, as `RetryInfo` says, or ask for a larger quota.",
    Reason.TOKENS_SPENT: "Ask for fewer tokens, or wait as `RetryInfo` says.",
    Reason.UPLOADS_TOO_MANY: "End or finish an upload first.",
    Reason.STORAGE_FULL: "Tell the operator; repeat when there is room.",
    Reason.OUT_OF_MEMORY: "Send fewer rows.",
    Reason.RUN_HUNG: "Repeat it once. If it comes again, tell the operator.",
    Reason.DRAINING: "Repeat it at once, on another connection.",
    Reason.ERASURE_UNFINISHED: "Repeat it: nobody else may be reading the database for long.",
    Reason.INDEX_KEY_MISMATCH: (
        "Restore the subjects database that was used with this answer log, from a backup."
    ),
    Reason.LOG_FENCED: "Repeat it on another gateway; tell the operator.",
    Reason.RECEIPT_MISSING: "Do not use the answer.",
    Reason.RECEIPT_MISMATCH: "Do not use the answer; tell the operator and an auditor.",
    Reason.RECEIPT_OUTDATED: "Have the gateway upgraded; until then its answers can be taken with "
    "`unsafe_v1_receipts`, unprotected from whoever relays the calls.",
    Reason.PROOF_INVALID: "Do not rely on what it should prove; tell an auditor.",
    Reason.LOG_UNSEEN: "Name the gateway that has the log with `--gateway`, or say `--elsewhere`.",
    Reason.ENTRY_UNANCHORED: "Wait for the next anchor, within a minute by default: `--wait 90`.",
    Reason.REPLAY_MISMATCH: "Another processor may round otherwise: compare with `--answer` and "
    "`--tolerance`. Else tell an auditor.",
    Reason.DERIVATION_MISMATCH: "Use the publisher's release of onnxruntime. Else tell an auditor.",
    Reason.ENTRY_PRUNED: "Its hash and proofs are still there; its content is not.",
    Reason.ENTRY_ERASED: "`sealgate subject erased NAME` says when; its proofs still hold.",
    Reason.OPENING_MISSING: "Tell an auditor: somebody deleted it, or lost the subject's key.",
    Reason.RETENTION_HOLDS: "Wait until they are old enough.",
    Reason.GRADIENT_MISSING: "Export the model without that operator, or publish the model of a "
    "table with `--without-gradient` ([how](../how-to/ready-models.md#if-the-file-is-refused)).",
    Reason.SCREENING_REQUIRED: "Publish the version with screening, or have the policy exempt the "
    "model's risk tier ([how](../how-to/ready-models.md#without-screening)).",
    Reason.CALIBRATION_TOO_SMALL: "Provide more clean rows.",
    Reason.GRAPH_MISMATCH: _FILE_REFUSED,
    Reason.EXTERNAL_DATA: _FILE_REFUSED,
    Reason.WORKER_LIMIT: "Allow more with `--memory` or `--seconds`.",
    Reason.WORKER_FORBIDDEN: "Do not trust the model: it tried what no model needs.",
    Reason.EVIDENCE_MISSING: "Publish the version again, or attach the evidence that the policy's "
    "section `evidence` names.",
    Reason.WATERMARK_CAPACITY: "Publish without a mark (`--allow-unmarked`), or a larger model "
    "([watermark](../how-to/watermark.md#what-a-model-needs)).",
    Reason.ATTENTION_COST: "Allow more with `--attention-kept` or `--attention-recall`, or give "
    "texts like your callers'.",
    Reason.WATERMARK_COST: "Allow more with `--watermark-loss`, or publish a larger model.",
    Reason.SECURITY_KEY_MISSING: "Have somebody approve with `--security-key`.",
    Reason.WEBAUTHN_COUNTER: "Tell an admin: the passkey may have been cloned.",
    Reason.KEY_UNREADABLE: "Check its path, passphrase or PIN ([keys](../how-to/keys.md)).",
    Reason.WORKER_UNCONFINED: "Publish on Linux 5.13 or later with Landlock "
    "([what publishing does](../how-to/admin.md#what-publishing-does)).",
    Reason.TRAINING_DATA: _RUN_REFUSED,
    Reason.RUN_FOREIGN: "Name another folder with `--out`.",
    Reason.LOSS_NOT_FINITE: "Use a smaller `learning_rate`.",
    Reason.PROCESS_LOST: "Repeat the command: it goes on from the last checkpoint.",
    Reason.ENROLMENT_TOKEN: _INVITATION,
    Reason.ENROLMENT_EXPIRED: _INVITATION,
    Reason.ENROLMENT_USED: _INVITATION,
    Reason.ENROLMENT_RECIPE: _INVITATION,
    Reason.KEY_FILE_EXPOSED: "`chmod 600` the file; if others could read it, replace the key.",
}
