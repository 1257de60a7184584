"""A long history of decisions, which benchmarks of the record look through."""

import secrets
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.config.document import GatewayConfig
from registry.answers.answer_log import AnswerLog
from registry.answers.encryption import Opening
from registry.answers.subject_keys import SubjectKeys
from sealgate.private_keys import open_log_signer
from sealgate.trust.receipts.answer_entry import FIELDS
from sealgate.trust.times import format_micros

CALLERS, DAYS = 50, 30
BEGAN = datetime(2026, 10, 1, tzinfo=UTC)
_BURST = 256
_DIGEST = "sha256:" + "5e" * 32


def fill(state: Path, entries: int) -> None:
    """Record decisions of many callers over a month, as a gateway does, while none runs."""
    config = GatewayConfig.read(state / "gateway.toml")
    with closing(SubjectKeys.open(config.answers.subjects)) as subjects:
        answers = AnswerLog.open(
            config.answers.database,
            config.answers.origin,
            open_log_signer(config.answers.log_key, config.answers.ml_dsa_key),
            subjects,
        )
        with closing(answers):
            while answers.size < entries:
                burst = range(answers.size, min(entries, answers.size + _BURST))
                logged, _ = answers.entries([opening(subjects, n, entries) for n in burst])
                answers.append(logged)


def opening(subjects: SubjectKeys, number: int, entries: int) -> Opening:
    caller = f"caller-{number % CALLERS}"
    values = dict.fromkeys(FIELDS, "") | {
        "time": format_micros(BEGAN + timedelta(days=DAYS) * (number / entries)),
        "principal": caller,
        "method": "/inference.GRPCInferenceService/ModelInfer",
        "model": "digits",
        "version": "1",
        "version_digest": _DIGEST,
        "pointer_sequence": "1",
        "policy_digest": _DIGEST,
        "input": _DIGEST,
        "output": _DIGEST,
        "outcome": "answered" if number % 17 else "ADVERSARIAL_INPUT",
        "verdict": "clean" if number % 17 else "adversarial",
        "score": "1.0",
        "threshold": "2.0",
        "engine": "in-process",
        "alias": "production",
        "request_id": f"request-{number}",
        "screening": "full",
        "arithmetic": "int8",
    }
    fields = tuple(values[name] for name in FIELDS)
    return Opening(fields, secrets.token_bytes(16), caller, subjects.key(caller))
