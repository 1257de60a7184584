"""The demo's attacks on its own models: what screening lets through, and what it refuses."""

from typing import Any

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

from demo.materials import DATA, LIVE, MODELS, Array, test_rows
from demo.questions import Answered, ask_each, share_reduced, share_refused
from demo.stage import Stage
from inference.model.config import ModelConfig
from inference.screening.gradient_attacks import PGD_SHARE, PGD_STEPS, feeds, fgsm, pgd
from sealgate.client.client import Client

_FGSM_EPS = (0.1, 0.2)
_PGD_EPS = 0.2
# Of the inputs that fool the model, the share that may be answered in full: neither refused nor
# found suspect. It swings with the random key of the watermark, since both thresholds are among the
# largest of a few hundred clean scores: 22%, of the 63 inputs of FGSM 0.1 that fool digits, is the
# most that was measured.
_UNFLAGGED = 0.35
# The share of clean inputs that screening may refuse, with room for chance on a few hundred.
_FALSE_ALARMS = {"digits": 0.03, "breast-cancer": 0.12}
_ACCURACY = 0.93


def screen(stage: Stage, client: Client, model: str) -> None:
    """Sends clean inputs and attacks on them to a model, and checks what is refused."""
    rows, labels = test_rows(model), load_file(DATA / f"{model}.safetensors")["y_test"]
    found = ask_each(client, model, rows)
    answered = [
        got.label == want
        for got, want in zip(found, labels, strict=True)
        if isinstance(got, Answered)
    ]
    accuracy = float(np.mean(answered)) if answered else 0.0
    alarms = share_refused(found)
    stage.check(
        f"{model}, clean",
        accuracy >= _ACCURACY and len(answered) == round((1 - alarms) * len(found)),
        f"{len(found)} held-out inputs, accuracy {accuracy:.3f}, every receipt verified",
    )
    reduced = share_reduced(found)
    stage.check(
        f"{model}, false alarms",
        alarms <= _FALSE_ALARMS[model],
        f"{alarms:.1%} refused, {reduced:.1%} answered with the class alone",
    )
    folder = MODELS / LIVE[model]
    config = ModelConfig.read((folder / "model.json").read_bytes())
    session = onnxruntime.InferenceSession(
        folder / "response.onnx", providers=["CPUExecutionProvider"]
    )
    for name, attacked in _attacks(session, rows, labels, config):
        fooled = attacked[_answers(session, attacked, config) != labels]
        asked = ask_each(client, model, fooled)
        share, reduced = share_refused(asked), share_reduced(asked)
        unflagged = max(0.0, 1 - share - reduced) if asked else 0.0
        stage.check(
            f"{model}, {name}",
            unflagged <= _UNFLAGGED,
            f"{len(fooled)} of {len(rows)} fool the model: {share:.1%} refused, {reduced:.1%} "
            f"suspect (the class alone), {unflagged:.1%} unflagged (bound {_UNFLAGGED:.0%})",
        )


def _attacks(
    session: Any, rows: Array, labels: Array, config: ModelConfig
) -> list[tuple[str, Array]]:
    domain = (config.domain.min, config.domain.max)
    attacks = [(f"FGSM {eps}", fgsm(session, rows, eps, *domain)) for eps in _FGSM_EPS]
    step = _PGD_EPS / PGD_SHARE
    strong = pgd(session, rows, labels, _PGD_EPS, step, PGD_STEPS, *domain)
    attacks.append((f"PGD {_PGD_EPS}", strong))
    if (table := config.table) is not None:
        # A number between two values of a column would be refused for that.
        attacks = [(name, table.within(rows, attacked)) for name, attacked in attacks]
    return attacks


def _answers(session: Any, rows: Array, config: ModelConfig) -> Array:
    """The classes that the attacker's own copy of the model answers."""
    found = session.run(["logits"], feeds(rows, config.eps, config.domain.min, config.domain.max))
    answers: Array = found[0].argmax(axis=1)
    return answers
