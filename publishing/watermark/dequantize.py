"""Converts quantized weights back to floats: one scale for all, per channel or per block.

Four-bit weights are unpacked as ONNX (TensorProto, MatMulNBits) and the usual safetensors layouts
pack them: two in a byte, the low half first.
"""

import numpy as np
import numpy.typing as npt

from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]


def dequantize(
    values: Array, scale: Array, zero: Array | None, axis: int = 1, block: int = 0
) -> Floats:
    """(values - zero) * scale, where both are one number, or one for each place of an axis, or,
    with `block`, one for each `block` places of it.

    Raises: FORMAT_REFUSED where they do not fit.
    """
    wide = values.astype(np.float32)
    if zero is not None:
        wide = wide - _spread(zero, wide.shape, axis, block)
    return wide * _spread(scale, wide.shape, axis, block)


def unpack_nibbles(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """From bytes [..., n] to values [..., 2 n] of 0 to 15."""
    halves = np.stack([packed & 15, packed >> 4], axis=-1)
    return halves.reshape(*packed.shape[:-1], 2 * packed.shape[-1])


def unpack_blocks(
    packed: npt.NDArray[np.uint8], scales: Array, zeros: Array | None, columns: int, bits: int
) -> Floats:
    """The weights [n, columns] of MatMulNBits: `packed` [n, blocks, bytes], one scale a block.

    Without zero points, the middle of the range stands for 0. Raises: FORMAT_REFUSED.
    """
    if bits not in (4, 8) or packed.ndim != 3:
        raise SealgateError(Reason.FORMAT_REFUSED, f"blocks of {bits} bits, {packed.ndim} axes")
    rows, blocks, _ = packed.shape
    levels = unpack_nibbles(packed) if bits == 4 else packed
    middle: Array = np.full((rows, blocks), 2 ** (bits - 1), np.float32)
    if zeros is not None:
        middle = zeros
        if zeros.dtype == np.uint8 and bits == 4:
            whole = zeros.astype(np.uint8).reshape(rows, -1)
            middle = unpack_nibbles(whole)[:, :blocks]
    try:
        shifts = middle.astype(np.float32).reshape(rows, blocks, 1)
        wide = (levels - shifts) * scales.astype(np.float32).reshape(rows, blocks, 1)
    except ValueError as error:
        raise SealgateError(Reason.FORMAT_REFUSED, "scales do not fit their blocks") from error
    flat = wide.reshape(rows, -1)
    if flat.shape[1] < columns:
        raise SealgateError(Reason.FORMAT_REFUSED, "blocks hold fewer columns than stated")
    return np.ascontiguousarray(flat[:, :columns], np.float32)


def _spread(parameter: Array, shape: tuple[int, ...], axis: int, block: int) -> Floats:
    """A scale or zero point, shaped to meet the values."""
    numbers = parameter.astype(np.float32)
    if numbers.size == 1:
        return numbers.reshape(())
    if not -len(shape) <= axis < len(shape):
        raise SealgateError(Reason.FORMAT_REFUSED, f"no axis {axis}")
    size = shape[axis]
    if block:
        if numbers.ndim != len(shape) or numbers.shape[axis] != -(-size // block):
            raise SealgateError(Reason.FORMAT_REFUSED, "scales do not fit their blocks")
        places = np.arange(size) // block
        found: Floats = np.take(numbers, places, axis)
        if any(have not in (1, want) for have, want in zip(found.shape, shape, strict=True)):
            raise SealgateError(Reason.FORMAT_REFUSED, "scales do not fit their blocks")
        return found
    if numbers.ndim != 1 or numbers.size != size:
        raise SealgateError(Reason.FORMAT_REFUSED, "scales do not fit their weight")
    spread = [1] * len(shape)
    spread[axis] = size
    return numbers.reshape(spread)
