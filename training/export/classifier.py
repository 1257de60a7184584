"""Exports a torch classifier to the serving graph and the response graph.

Both graphs hold each parameter once, under the module's own name for it, so that marking, signing
and comparing find the same weights in both.

Backward operators are written in operators that ONNX has. PyTorch's own decompositions cover most;
two rules here cover the rest. Only gradients to inputs are needed, since parameters are frozen when
a model is screened.

Exports ONNX graphs in which every parameter is one initializer under its own name. A plain export
folds transposed copies of a weight into the graph, under meaningless names, and a watermark would
have to be written to, and searched in, each. Here parameters are traced as inputs, which cannot be
folded, and become initializers at the end.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from inference.runtime import response_contract
from inference.runtime.graph_rewrites import drop_unread
from training.export import attention_windows
from training.export.reference import CleanReference, watched
from training.export.response import LayerTap, respond


def bind(model: onnx.ModelProto, parameters: dict[str, np.ndarray]) -> None:
    """Turn the inputs of these names into initializers with these contents, in place.

    A parameter that the graph does not read is left out.
    """
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    kept = [value for value in graph.input if value.name not in parameters]
    del graph.input[:]
    graph.input.extend(kept)
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(content), name)
        for name, content in parameters.items()
        if name in read
    )
    _drop_stale_shapes(graph)


def untranspose(model: onnx.ModelProto) -> None:
    """Remove transposes of initializers where the reader can do without, in place.

    A transpose of a transpose is the initializer itself, and Gemm takes its second operand either
    way round. The runtime folds the rest when it loads.
    """
    graph = model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    swapped: dict[str, str] = {}
    for node in graph.node:
        if not _swaps(node):
            _read_directly(node, swapped)
            continue
        source = node.input[0]
        if source in initializers:
            swapped[node.output[0]] = source
        elif source in swapped:
            _rename(graph, node.output[0], swapped[source])
    drop_unread(graph)


def _swaps(node: onnx.NodeProto) -> bool:
    return node.op_type == "Transpose" and [list(a.ints) for a in node.attribute] == [[1, 0]]


def _read_directly(node: onnx.NodeProto, swapped: dict[str, str]) -> None:
    if node.op_type != "Gemm" or node.input[1] not in swapped:
        return
    flag = next((a for a in node.attribute if a.name == "transB"), None)
    if flag is None:
        node.attribute.append(onnx.helper.make_attribute("transB", 0))
        flag = node.attribute[-1]
    node.input[1] = swapped[node.input[1]]
    flag.i = 1 - flag.i


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _drop_stale_shapes(graph: onnx.GraphProto) -> None:
    # The quantizer compares these with what it infers and stops where they are out of date.
    del graph.value_info[:]


aten = torch.ops.aten

_BACKWARD = (
    "native_layer_norm_backward",
    "gelu_backward",
    "silu_backward",
    "tanh_backward",
    "sigmoid_backward",
    "softplus_backward",
    "_softmax_backward_data",
    "_log_softmax_backward_data",
    "threshold_backward",
    "nll_loss_forward",
    "nll_loss_backward",
    "select_backward",
    "slice_backward",
    "native_dropout_backward",
    "_log_softmax",
    "_softmax",
)


def table() -> dict[Any, Callable[..., Any]]:
    """Return the decompositions to trace a response graph with."""
    found: dict[Any, Callable[..., Any]] = dict(core_aten_decompositions())
    found.update(get_decompositions([getattr(aten, name) for name in _BACKWARD]))
    # ONNX has this one whole; in parts it would be slower.
    found.pop(aten.native_layer_norm.default, None)
    found[aten.convolution_backward.default] = _convolution_backward
    found[aten.max_pool2d_with_indices_backward.default] = _max_pool_backward
    return found


def _convolution_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    wanted: list[bool],
) -> tuple[torch.Tensor, None, None]:
    """The gradient of a convolution to its input is the transposed convolution."""
    if transposed or wanted[1] or wanted[2]:
        raise NotImplementedError("only a plain convolution's gradient to its input is exported")
    missing = [
        x.shape[i + 2]
        - ((grad.shape[i + 2] - 1) * stride[i] - 2 * padding[i])
        - (dilation[i] * (weight.shape[i + 2] - 1) + 1)
        for i in range(len(stride))
    ]
    back = aten.convolution.default(
        grad, weight, None, stride, padding, dilation, True, missing, groups
    )
    return back, None, None


def _max_pool_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
    indices: torch.Tensor,
) -> torch.Tensor:
    """Each gradient goes back to the place that its maximum came from."""
    places = torch.zeros_like(x).flatten(2)
    return places.scatter_add(2, indices.flatten(2), grad.flatten(2)).view_as(x)


OPSET = 20
_MAX_ROWS = 65536
# Tracing takes sizes that are equal for the same size: no model should have these.
TRACED_ROWS = 23
TRACED_TOKENS = 29
Call = Callable[..., torch.Tensor]
State = Mapping[str, torch.Tensor]


def export_serving(module: torch.nn.Module, row: Sequence[int]) -> bytes:
    """Return an ONNX model `x` float32 [n, *row] -> `logits` float32 [n, C].

    `module` is a classifier of rows, in evaluation mode (a ValueError says if not).
    """

    def forward(call: Call, _: State, x: torch.Tensor) -> tuple[Any, ...]:
        return (call(x),)

    return export(
        module, forward, (_example(row),), (response_contract.X,), (response_contract.LOGITS,)
    )


def export_response(
    module: torch.nn.Module, row: Sequence[int], reference: CleanReference | None = None
) -> bytes:
    """Return the response graph of `inference.runtime.response_contract` for the same module; where
    there is a reference, its features are among the graph's.
    """

    def forward(call: Call, state: State, *given: Any) -> tuple[Any, ...]:
        with watched(module) as entered:
            watch = LayerTap(CleanReference.of(state), entered) if state else None
            return partial(respond, watch=watch)(call, *given)

    example = (
        _example(row),
        torch.full((TRACED_ROWS,), response_contract.OWN_PREDICTION),
        torch.tensor(0.1),
        torch.tensor(0.0),
        torch.tensor(1.0),
    )
    state = {} if reference is None else reference.state()
    data = export(
        module, forward, example, response_contract.INPUTS, response_contract.OUTPUTS, state=state
    )
    response_contract.check_response_graph(data, row)
    return data


def _example(row: Sequence[int]) -> torch.Tensor:
    return torch.rand(TRACED_ROWS, *row)


def export(
    module: torch.nn.Module,
    function: Callable[..., tuple[Any, ...]],
    example: tuple[torch.Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    columns: Mapping[str, torch.export.Dim] = MappingProxyType({}),
    state: State = MappingProxyType({}),
    within: str = "",
) -> bytes:
    """Trace `function(call, state, *example)` with the module's parameters, and the tensors of
    `state`, as further, leading inputs.

    The rows of every input are free, and so are the second sizes of those named in `columns`. A
    parameter's name in the graph is what follows `within` of its own.
    """
    if module.training:
        raise ValueError("the module is in training mode: dropout and norms would be exported so")
    parameters = _parameters(module)
    held = {name.removeprefix(within): value for name, value in parameters.items()} | dict(state)
    names = list(held)

    def traced(*given: torch.Tensor) -> tuple[Any, ...]:
        bound = dict(zip(names, given, strict=False))
        own = {name: bound[name.removeprefix(within)] for name in parameters}
        return function(
            lambda *x: torch.func.functional_call(module, own, x),
            {name: bound[name] for name in state},
            *given[len(names) :],
        )

    given = (*held.values(), *example)
    traces = {"tracing_mode": "symbolic", "_allow_non_fake_inputs": True}
    parts = table() | attention_windows.decompositions()
    graph = make_fx(traced, decomposition_table=parts, **traces)(*given).eval()
    free = [*[{}] * len(held), *_free(inputs, example, columns)]
    model = _to_onnx(graph, given, free, (*names, *inputs), outputs)
    attention_windows.write_windows(model)
    bind(model, {name: value.numpy() for name, value in held.items()})
    untranspose(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters, and buffers such as a norm's running mean, frozen."""
    found = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: value.detach().clone() for name, value in found.items()}


def _free(
    inputs: Sequence[str],
    example: Sequence[torch.Tensor],
    columns: Mapping[str, torch.export.Dim],
) -> list[dict[int, torch.export.Dim]]:
    """Which sizes of each input are not those of the example, by their places."""
    rows = torch.export.Dim("rows", min=1, max=_MAX_ROWS)
    return [
        ({0: rows} if value.dim() else {}) | ({1: columns[name]} if name in columns else {})
        for name, value in zip(inputs, example, strict=True)
    ]


def _to_onnx(
    graph: torch.fx.GraphModule,
    given: tuple[torch.Tensor, ...],
    free: Sequence[dict[int, torch.export.Dim]],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph,
            given,
            dynamo=True,
            dynamic_shapes=tuple(sizes or None for sizes in free),
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            external_data=False,
            verbose=False,
        )
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    return model


def _strip(model: onnx.ModelProto) -> None:
    """Drop what the exporter says of our source files: it is long and it names paths."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.ClearField("doc_string")
    model.graph.ClearField("doc_string")
    for item in (*model.graph.node, *model.graph.input, *model.graph.output):
        del item.metadata_props[:]
        item.ClearField("doc_string")
