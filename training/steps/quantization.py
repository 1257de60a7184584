"""Quantization-aware training with torchao's PT2E (Jacob et al., arXiv 1712.05877).

Every step rounds weights and activations as an INT8 graph would, and gradients pass straight
through. Publishing marks float32 weights and quantizes them itself, so a version continues from the
trained float32 weights; `to_onnx` writes the INT8 graph that torchao makes of the same training.
"""

import copy
import logging
import warnings
from dataclasses import replace
from typing import Any

import onnx
import torch
from torch import nn
from torchao.quantization import pt2e
from torchao.quantization.pt2e import quantize_pt2e
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

from inference.runtime import response_contract
from training.models.encoder import TextClassifier
from training.models.students import device_of

# The first with INT8 zero points a channel.
_OPSET = 21
_MAX_ROWS = 4096


class FakeQuantized(nn.Module):
    """A student whose products are rounded as in INT8; it answers as the student does, but for the
    vectors, which are empty.
    """

    def __init__(self, prepared: torch.fx.GraphModule) -> None:
        super().__init__()
        self.prepared = prepared

    def answers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From rows x [n, ...] to nothing and logits [n, C]."""
        return x.new_empty((len(x), 0)), self.prepared(*_given(x))

    def train(self, mode: bool = True) -> "FakeQuantized":
        """Ranges follow the rows of training alone."""
        self.prepared.apply(pt2e.enable_observer if mode else pt2e.disable_observer)
        self.training = mode
        return self


def prepare(
    student: nn.Module, rows: torch.Tensor, bits: int, *, trained: bool = True
) -> FakeQuantized:
    """The student, ready to be trained with `bits` to a weight and 8 to an activation, or, without
    `trained`, to be asked rows by which ranges are recorded (post-training quantization).

    `rows` [n, ...] are examples, two or more. The student's own weights stay as they are.
    """
    program = torch.export.export(
        _Plain(copy.deepcopy(student)),
        _given(rows[:4].to(device_of(student))),
        dynamic_shapes=(_free(student),),
    ).module()
    quantizer = x86.X86InductorQuantizer()
    asked = x86.get_default_x86_inductor_quantization_config(is_qat=trained)
    # As symmetric as publishing's own: the scale is that of the positive end.
    levels = 2 ** (bits - 1)
    weight = replace(asked.weight, quant_min=-levels, quant_max=levels - 1)
    quantizer.set_global(replace(asked, weight=weight))
    start = quantize_pt2e.prepare_qat_pt2e if trained else quantize_pt2e.prepare_pt2e
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FakeQuantized(start(program, quantizer))


def take_weights(student: nn.Module, rounded: FakeQuantized) -> None:
    """Give the student, in place, the fp32 weights that were trained with rounding."""
    trained = dict(rounded.prepared.named_parameters())
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if (found := trained.get(f"student.{name}")) is not None:
                parameter.copy_(found)


def to_onnx(rounded: FakeQuantized, student: nn.Module, rows: torch.Tensor) -> bytes:
    """The INT8 graph in QDQ form, with the serving graph's inputs and output; `rounded` is used up.

    Ranges are those that training, or the rows asked before, have left.
    """
    rounded.eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    of_text = isinstance(student, TextClassifier)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            quantize_pt2e.convert_pt2e(rounded.prepared),
            _given(rows[:4]),
            dynamo=True,
            dynamic_shapes=_free(student),
            opset_version=_OPSET,
            input_names=[response_contract.IDS, response_contract.MASK]
            if of_text
            else [response_contract.X],
            output_names=[response_contract.LOGITS],
            external_data=False,
            verbose=False,
        )
    model: onnx.ModelProto = program.model_proto
    return bytes(model.SerializeToString(deterministic=True))


class _Plain(nn.Module):
    """A student as a function of the serving graph's inputs."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        if isinstance(self.student, TextClassifier):
            given = (self.student(given[0]), given[1])
        logits: torch.Tensor = self.student(*given)
        return logits


def _given(rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if rows.dtype != torch.int64:
        return (rows,)
    return rows.clamp(min=0), (rows >= 0).to(torch.int64)


def _free(student: nn.Module) -> tuple[dict[int, Any], ...]:
    batch = torch.export.Dim("rows", min=1, max=_MAX_ROWS)
    if not isinstance(student, TextClassifier):
        return ({0: batch},)
    tokens = torch.export.Dim("tokens", min=2, max=student.positions.num_embeddings)
    return ({0: batch, 1: tokens},) * 2
