"""Checks that a version passes before it answers: steps 4 to 6 of `ReadyVersion.build`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.engine.batch_run import ServingTarget
from inference.engine.result import InferenceResult
from inference.model.forms import InputForm
from inference.model.golden import Golden
from inference.runtime import response_contract
from inference.runtime.session import Session
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]

# The first golden rows also run alone and in threes: the batch must not matter.
_COMPANY_SIZES = (1, 3)
_COMPANY_ROWS = 12


def check_forward(
    form: InputForm, float32: Session, whole: Session, response: Session, golden: Golden, most: int
) -> None:
    """Step 4. `whole` is the response graph as signed, on the CPU; requests run `response`, a
    pruned one, on the configured provider. Raises: GRAPH_MISMATCH.
    """

    def both(x: Array) -> tuple[Array, ...]:
        feeds = form.screening(x)
        return (*float32.run(form.serving(x)), *whole.run(feeds), *response.run(feeds))

    for x, _ in golden.batches(most):
        expected, logits, features, pruned, *compared = form.run(x, both)
        for each in (logits, *compared):
            response_contract.check_same_forward(expected, each)
        if not np.allclose(pruned, features, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise SealgateError(Reason.GRAPH_MISMATCH, "the features need what was pruned")


def check_answers(
    form: InputForm,
    batch: Callable[[list[Array]], list[InferenceResult]],
    output: str,
    serving: ServingTarget,
    golden: Golden,
    most: int,
) -> None:
    """Steps 5 and 6, by what `batch` answers. Raises: GOLDEN_MISMATCH, GRAPH_MISMATCH."""
    whole = [answer for x, _ in golden.batches(most) for answer in batch([x])]
    if not np.isfinite([each.score for each in whole]).all():
        raise SealgateError(Reason.GRAPH_MISMATCH, "a golden input has no score")
    logits = np.concatenate([each.outputs[output] for each in whole])
    features = np.concatenate([each.features for each in whole])
    golden.check(logits, serving.tolerance)
    if golden.probes is not None:
        answered = [answer for x, _ in golden.probes.batches(most) for answer in batch([x])]
        probed = np.concatenate([each.outputs[output] for each in answered])
        golden.probes.check(probed, serving.tolerance)
    first = min(_COMPANY_ROWS, len(logits))
    for size in (*_COMPANY_SIZES, most):
        size = min(size, most)
        rows = [golden.x[at : min(at + size, first)] for at in range(0, first, size)]
        parts = [answer for x in rows for answer in batch([x])]
        found = np.concatenate([part.outputs[output] for part in parts])
        if not _near(found, logits, serving.company):
            raise SealgateError(Reason.GOLDEN_MISMATCH, f"answers change in batches of {size}")
        if not _near(np.concatenate([p.features for p in parts]), features, serving.screening):
            raise SealgateError(Reason.GOLDEN_MISMATCH, f"screening changes in batches of {size}")
    _check_extremes(form, batch)


def _check_extremes(form: InputForm, batch: Callable[[list[Array]], list[InferenceResult]]) -> None:
    """Run rows that golden inputs may not cover, so that one caller's row cannot fail a shared
    batch.
    """
    for rows in form.extremes():
        try:
            batch([rows])
        except SealgateError as refusal:
            raise SealgateError(
                Reason.GRAPH_MISMATCH, f"{rows.shape}: {refusal.detail}"
            ) from refusal


def _near(found: Array, expected: Array, off: float) -> bool:
    """Whether rows are the first of those expected, within `off`, absolute and relative."""
    return np.allclose(found, expected[: len(found)], rtol=off, atol=off, equal_nan=True)
