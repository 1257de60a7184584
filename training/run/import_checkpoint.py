"""Exports an imported checkpoint to a folder of graphs that anyone can check.

    classifier, decoder  serving.onnx   input_ids, attention_mask int64 [n, s] -> logits [n, C]
                         response.onnx  see `inference.runtime.response_contract`
    translator           encoder.onnx   input_ids, attention_mask int64 [n, s] -> states [n, s, W]
                         decoder.onnx   decoder_input_ids int64 [n, t], states, attention_mask
                                        -> logits [n, t, V]
    all                  golden.safetensors   inputs, and torch's outputs for them
                         tokenizer.json       if the checkpoint has one
                         provenance.json      the checkpoint's digest, and these files'

1. The checkpoint is checked against its hashes, and loaded.
2. Each graph is traced at one size and must give torch's outputs at another, to `TOLERANCE` of
   the largest. Rows and lengths are free.
3. The folder appears whole or not at all.

A classifier with a description also gets a model.json, and no golden inputs: publishing makes its
own and takes the folder as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import save

from inference.model.config import ModelConfig
from inference.model.inputs import form_of
from inference.runtime import response_contract
from publishing.source.folder import (
    CONFIG,
    LARGEST_FILE,
    ORIGIN,
    RESPONSE,
    SERVING,
    TOKENIZER,
    SourceFolder,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.times import format_time
from training.data import made_whole, write_whole
from training.export.classifier import TRACED_ROWS, TRACED_TOKENS, Call, State, export
from training.export.text import respond
from training.models import checkpoints, families
from training.models.families import (
    WITHIN,
    BertClassifier,
    EncoderStates,
    NextToken,
    TextModel,
    TranslationDecoder,
)
from training.run.finishing import ImportDescription, describe_imported
from training.run.origin import imported_statement
from training.steps.teachers import tokenizer_in

TOLERANCE = 1e-4
ENCODER, DECODER, GOLDEN = "encoder.onnx", "decoder.onnx", "golden.safetensors"
SAID, STATES = "decoder_input_ids", "states"
_TEXT = (response_contract.IDS, response_contract.MASK)
# A size that no other size of a model should have; see `training.export.classifier`.
_TRACED_SAID = 31
_GOLDEN_ROWS, _GOLDEN_TOKENS, _GOLDEN_SAID = 3, 12, 5
_FLOAT_BYTES = 4
_EPS = 0.01
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class ImportedGraphs:
    """ONNX models by file name; golden inputs, and torch's outputs for them, by their names."""

    files: Mapping[str, bytes]
    golden: Tensors


def write_graphs(folder: Path, out: Path, about: ImportDescription | None = None) -> str:
    """Make graphs of a folder that `sealgate import` wrote, in `out`, which must be new; with
    `about`, of a classifier, a folder that `sealgate model publish` takes.

    Returns the family. Raises: RUN_FOREIGN, CHECKPOINT_REFUSED, FILE_TOO_LARGE, STORAGE_FULL;
    GRAPH_MISMATCH where a graph is not torch's; what `checkpoints.read_imported` raises; and with
    `about` what `SourceFolder.check` does.
    """
    if out.exists():
        raise SealgateError(Reason.RUN_FOREIGN, f"{out} exists")
    began = format_time(datetime.now(UTC))
    # 1.
    imported = checkpoints.read_imported(folder)
    family = families.family(folder)
    if about is not None and family != families.CLASSIFIER:
        raise SealgateError(
            Reason.CHECKPOINT_REFUSED, f"a {family} is published by publish-generator"
        )
    model, tokenizer = families.load(folder), tokenizer_in(folder)
    size = _FLOAT_BYTES * sum(parameter.numel() for parameter in model.parameters())
    if size > LARGEST_FILE:
        raise SealgateError(Reason.FILE_TOO_LARGE, f"one ONNX file cannot hold {size} bytes")
    config = None if about is None else _described(about, model, tokenizer)
    # 2.
    made = graphs(family, model)
    files = dict(made.files)
    if tokenizer is not None:
        files[TOKENIZER] = tokenizer
    if config is None:
        files[GOLDEN] = save(made.golden)
    else:
        files[CONFIG] = config.encode()
        SourceFolder(config, files[SERVING], files[RESPONSE], tokenizer).check()
    # 3.
    files[ORIGIN] = imported_statement(
        imported, family, files, began, format_time(datetime.now(UTC))
    )
    with made_whole(out) as aside:
        for name, data in files.items():
            write_whole(aside / name, data)
    return family


def _described(about: ImportDescription, model: Any, tokenizer: bytes | None) -> ModelConfig:
    config = describe_imported(about, model, tokenizer is not None)
    # Before the graphs, which take their time: that its tokenizer may be served.
    form_of(config, tokenizer)
    return config


def graphs(family: str, model: Any) -> ImportedGraphs:
    """Those of a model that `families.load` gave. Raises GRAPH_MISMATCH."""
    if family == families.TRANSLATOR:
        return _translator(model)
    return _text(BertClassifier(model) if family == families.CLASSIFIER else NextToken(model))


def _text(module: TextModel) -> ImportedGraphs:
    module.eval()
    serving, response = serving_graph(module), response_graph(module)
    ids, mask = _rows(module, _GOLDEN_ROWS, _GOLDEN_TOKENS)
    golden = {
        response_contract.IDS: ids,
        response_contract.MASK: mask,
        response_contract.LOGITS: module(module(ids), mask),
    }
    check(SERVING, serving, golden, (response_contract.LOGITS,))
    check_response(serving, response, golden)
    return ImportedGraphs({SERVING: serving, RESPONSE: response}, golden)


def serving_graph(module: TextModel) -> bytes:
    """Ids and mask to logits [n, C]."""

    def serve(call: Call, _: State, ids: torch.Tensor, mask: torch.Tensor) -> tuple[Any, ...]:
        return (call(call(ids), mask),)

    example = _rows(module, TRACED_ROWS, TRACED_TOKENS)
    return export(
        module, serve, example, _TEXT, (response_contract.LOGITS,), _free(module), within=WITHIN
    )


def response_graph(module: TextModel) -> bytes:
    """That of `inference.runtime.response_contract`, without a reference: there are no labelled
    rows.
    """

    def answer(call: Call, _: State, *given: Any) -> tuple[Any, ...]:
        return respond(call, *given)

    label = torch.full((TRACED_ROWS,), response_contract.OWN_PREDICTION)
    example = (*_rows(module, TRACED_ROWS, TRACED_TOKENS), label, torch.tensor(_EPS))
    names = response_contract.TEXT_INPUTS, response_contract.OUTPUTS
    return export(module, answer, example, *names, _free(module), within=WITHIN)


def _free(module: TextModel) -> dict[str, torch.export.Dim]:
    return dict.fromkeys(_TEXT, torch.export.Dim("tokens", min=2, max=module.positions))


def check_response(serving: bytes, response: bytes, golden: Tensors) -> None:
    """Raises GRAPH_MISMATCH where the response graph is not one, or not the serving graph's."""
    response_contract.check_text_response_graph(response)
    response_contract.check_same_parameters(serving, response)
    label = torch.full((_GOLDEN_ROWS,), response_contract.OWN_PREDICTION)
    given = {**golden, response_contract.LABEL: label, response_contract.EPS: torch.tensor(_EPS)}
    check(RESPONSE, response, given, (response_contract.LOGITS,))


def _translator(model: Any) -> ImportedGraphs:
    encoder, decoder = EncoderStates(model).eval(), TranslationDecoder(model).eval()
    tokens = torch.export.Dim("tokens", min=2, max=encoder.positions)
    said = torch.export.Dim("said", min=2, max=encoder.positions)
    free = {
        response_contract.IDS: tokens,
        response_contract.MASK: tokens,
        STATES: tokens,
        SAID: said,
    }

    def run(call: Call, _: State, *given: torch.Tensor) -> tuple[Any, ...]:
        return (call(*given),)

    ids, mask = _rows(encoder, TRACED_ROWS, TRACED_TOKENS)
    spoken, _ = _rows(encoder, TRACED_ROWS, _TRACED_SAID)
    put_out = partial(export, columns=free, within=WITHIN)
    read = put_out(encoder, run, (ids, mask), _TEXT, (STATES,))
    names = (SAID, STATES, response_contract.MASK)
    given = (spoken, encoder(ids, mask), mask)
    spoken_by = put_out(decoder, run, given, names, (response_contract.LOGITS,))
    ids, mask = _rows(encoder, _GOLDEN_ROWS, _GOLDEN_TOKENS)
    spoken, _ = _rows(encoder, _GOLDEN_ROWS, _GOLDEN_SAID)
    states = encoder(ids, mask)
    golden = {
        response_contract.IDS: ids,
        response_contract.MASK: mask,
        SAID: spoken,
        STATES: states,
    }
    golden[response_contract.LOGITS] = decoder(spoken, states, mask)
    check(ENCODER, read, golden, (STATES,))
    check(DECODER, spoken_by, golden, (response_contract.LOGITS,))
    return ImportedGraphs({ENCODER: read, DECODER: spoken_by}, golden)


def _rows(module: TextModel, rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask int64 [n, s], the same each time; the first row is of full length."""
    if module.positions < tokens:
        raise SealgateError(
            Reason.CHECKPOINT_REFUSED, f"it takes texts of {module.positions} tokens"
        )
    generator = torch.Generator().manual_seed(rows * tokens)
    ids = torch.randint(module.vocabulary, (rows, tokens), generator=generator)
    lengths = torch.randint(1, tokens + 1, (rows, 1), generator=generator)
    lengths[0] = tokens
    return ids, (torch.arange(tokens) < lengths).to(torch.int64)


def check(name: str, graph: bytes, golden: Tensors, outputs: tuple[str, ...]) -> None:
    """Raises GRAPH_MISMATCH where a graph's outputs for the golden inputs are not torch's.

    States behind a row's last token are nobody's, and are not compared.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    feeds = {value.name: golden[value.name].numpy() for value in session.get_inputs()}
    for output, found in zip(outputs, session.run(list(outputs), feeds), strict=True):
        expected = golden[output].numpy()
        if output == STATES:
            held = golden[response_contract.MASK].numpy()[:, :, np.newaxis] > 0
            expected, found = np.where(held, expected, 0), np.where(held, found, 0)
        most = TOLERANCE * max(1.0, float(np.abs(expected).max()))
        # Written so that NaN, too, refuses.
        if found.shape != expected.shape or not np.abs(found - expected).max() <= most:
            raise SealgateError(Reason.GRAPH_MISMATCH, f"{output} of {name} is not torch's")
