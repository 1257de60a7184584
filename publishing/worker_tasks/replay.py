"""Runs a version again on a recorded input, in a worker, as a gateway would.

The files are the signed ones, and they pass every check of a gateway when they are loaded. So the
result is what that version answers on this machine.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.engine import ReadyVersion, version_contents
from inference.model.config import CLASSES, ModelConfig
from inference.model.decisions import Decision
from inference.model.inputs import labels, tensors_of
from inference.model.request_tensors import requests_of
from inference.runtime.settings import CpuSettings
from publishing.serialization import pack_tensors, unpack_tensors
from publishing.worker_tasks.forward import in_shape
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, digest_of
from sealgate.trust.receipts.answer_entry import ANCHOR

Floats = npt.NDArray[np.float32]
TASK = f"{__name__}:run"
_ROWS, _LOGITS = "rows of the request", "logits of the answer"
_VERDICT, _SCORE = "verdict", "score"
_HEADER = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """A version's answer: `output` is the output's name, `logits` are [n, classes], `score` is that
    of the worst row.
    """

    output: str
    logits: Floats
    verdict: str
    score: float = math.nan
    decision: Decision = CLASSES


@dataclass(frozen=True, slots=True)
class ReplayAgreement:
    """How an answer agrees with what was recorded; `largest_difference` is of any element."""

    verdict: str
    answer: str
    largest_difference: float


def check_input(config: ModelConfig, rows: Floats, recorded: str) -> Floats:
    """Return `rows` in the model's shape, if they are the input whose digest was recorded.

    Raises SealgateError: TENSOR_DATATYPE where it takes other than numbers, TENSOR_SHAPE,
    RECEIPT_MISMATCH.
    """
    rows = in_shape(config, rows)
    sent = requests_of(config.tensors, rows) if config.tensors else [tensors_of(config, rows)]
    if recorded not in map(digest_of, sent):
        raise SealgateError(Reason.RECEIPT_MISMATCH, "the input is not the one of the receipt")
    return rows


def replay(files: Mapping[str, bytes], rows: Floats, confinement: Confinement) -> Replayed:
    """Run the version of `files` (all of them, signed) on `rows`, in a worker.

    Raises SealgateError: BATCH_TOO_LARGE, reasons of `ReadyVersion.build`, and those of a worker.
    """
    config = ModelConfig.decode(files[version_contents.MODEL])
    if len(rows) > config.batching.max_rows:
        raise SealgateError(Reason.BATCH_TOO_LARGE, f"{len(rows)} rows")
    request = pack_tensors(files, {_ROWS: rows})
    with process.start(TASK, request, confinement.limits, unsafe=confinement.unsafe) as worker:
        found = unpack_tensors(worker.receive(len(rows) * 4 * config.output.row[0] + _HEADER))
        worker.finish()
    shape = (len(rows), *config.output.row)
    if found.keys() != {_LOGITS, _VERDICT, _SCORE} or found[_LOGITS].shape != shape:
        raise SealgateError(Reason.WORKER_FAILED, "its answer is of another form")
    texts = {found[name].dtype for name in (_VERDICT, _SCORE)}
    if found[_LOGITS].dtype != np.float32 or texts != {np.dtype(np.uint8)}:
        raise SealgateError(Reason.WORKER_FAILED, "its answer is of other types")
    verdict, score = (
        found[name].tobytes().decode("ascii", "replace") for name in (_VERDICT, _SCORE)
    )
    return Replayed(config.output.name, found[_LOGITS], verdict, _number(score), config.decision)


def run(request: bytes, send: Callable[[bytes], None]) -> None:
    """In the worker: sends logits, verdict and score. Raises as `ReadyVersion.build` does."""
    asked = unpack_tensors(request)
    rows = asked.pop(_ROWS)
    files = {path: data.tobytes() for path, data in asked.items()}
    ready = ReadyVersion.build("", files, CpuSettings(1))
    answer = ready.submit(rows)
    told = {_VERDICT: answer.verdict.value.encode(), _SCORE: repr(answer.score).encode()}
    send(pack_tensors(told, {_LOGITS: answer.outputs[ready.config.output.name]}))


def compare(
    found: Replayed,
    verdict: str,
    output: str,
    answer: Floats | None,
    tolerance: float,
    arithmetic: str = "",
) -> ReplayAgreement:
    """Compare with the recorded `verdict` and the digest of the recorded `output`.

    1. The verdict is the same (REPLAY_MISMATCH).
    2. Where nothing was answered, that is all.
    3. The output has the digest; or else `answer`, which has it (RECEIPT_MISMATCH), is within
       `tolerance`, relative and absolute (REPLAY_MISMATCH). Where classes alone left, it is theirs;
       or, where `arithmetic` says so, classes of rows that were nearly repeated: of a single row
       that class is told, of more it cannot be known.
    """
    # 1.
    if found.verdict != verdict:
        raise SealgateError(
            Reason.REPLAY_MISMATCH, f"the verdict is {found.verdict}, was {verdict}"
        )
    # 2.
    if not output:
        return ReplayAgreement(verdict, "none was given", 0.0)
    # 3.
    if _digest(found.output, found.logits) == output:
        return ReplayAgreement(verdict, "equal, bit for bit", 0.0)
    if digest_of([found.decision.reduced(found.logits)]) == output:
        return ReplayAgreement(verdict, "the same labels, which alone were given", 0.0)
    if arithmetic == ANCHOR:
        return ReplayAgreement(verdict, _anchored(found.logits, output), 0.0)
    if answer is None:
        raise SealgateError(Reason.REPLAY_MISMATCH, "not bit for bit; --answer allows a tolerance")
    if _digest(found.output, answer) != output:
        raise SealgateError(Reason.RECEIPT_MISMATCH, "the answer is not the one of the receipt")
    if answer.shape != found.logits.shape:
        raise SealgateError(Reason.REPLAY_MISMATCH, f"the answer given has shape {answer.shape}")
    difference = float(np.abs(found.logits - answer).max())
    if not np.allclose(found.logits, answer, rtol=tolerance, atol=tolerance):
        raise SealgateError(Reason.REPLAY_MISMATCH, f"off by {difference:g}")
    return ReplayAgreement(verdict, f"equal within {tolerance:g}", difference)


def _anchored(logits: Floats, output: str) -> str:
    if len(logits) > 1:
        return "classes of rows that were nearly repeated, some not its own"
    own = int(logits.argmax())
    for other in range(logits.shape[1]):
        if digest_of([labels(logits, [other])]) == output:
            return f"class {other} of a row that was nearly repeated; its own is {own}"
    raise SealgateError(Reason.REPLAY_MISMATCH, "no class of the version's was given")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise SealgateError(Reason.WORKER_FAILED, "its score is not a number") from error


def _digest(name: str, data: Floats) -> str:
    return digest_of([Tensor.of(name, data)])
