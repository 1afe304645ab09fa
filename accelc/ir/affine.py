"""Constants that scale and shift per channel, and the anchors that can absorb them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from accelc.ir.pass_base import Refusal
from accelc.ir.reading import constant_value, input_of, rank

ANCHORS = ("Conv", "ConvTranspose", "Gemm")
MAX_CHANNEL_BYTES = 1 << 22


@dataclass(frozen=True)
class Affine:
    """``y = scale * x + shift`` per channel, float64, each [C] or [] for one value for all channels."""

    scale: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True)
class Weights:
    """Constant operands of an anchor: weight, bias [C] or None, the axis of w that holds channels."""

    w: np.ndarray
    b: np.ndarray | None
    channels: int


def batch_norm_affine(node: ir.Node) -> Affine | Refusal:
    """What a BatchNormalization at inference does, from its constant operands."""
    if node.attributes.get_int("training_mode", 0):
        return Refusal("BatchNormalization is in training mode", at=node)
    arrays = [constant_value(input_of(node, i), max_bytes=MAX_CHANNEL_BYTES) for i in range(1, 5)]
    if any(a is None for a in arrays):
        return Refusal("scale, bias, mean or variance is not constant", at=node)
    scale, bias, mean, variance = (np.asarray(a, np.float64).reshape(-1) for a in arrays if a is not None)
    # The float32 the attribute is stored in says 9.9999997e-06; both are that number exactly.
    epsilon = float(np.float32(node.attributes.get_float("epsilon", 1e-5)))
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + epsilon)
        shift = bias - mean * factor
    if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
        return Refusal("scale or shift of BatchNormalization is not finite", at=node)
    return Affine(factor, shift)


def arithmetic_affine(node: ir.Node, side: int, channel_axis: int) -> Affine | Refusal | None:
    """What Add, Sub, Mul or Div with a constant does to operand ``side``; None if the other is no constant.

    Args:
        node: The op.
        side: Which operand is transformed.
        channel_axis: Axis of the result that holds channels, counted from the front.
    """
    constant = constant_value(input_of(node, 1 - side), max_bytes=MAX_CHANNEL_BYTES)
    n = rank(node.outputs[0])
    x = input_of(node, side)
    if constant is None or n is None or constant.dtype.kind != "f":
        return None
    if rank(x) != n or constant.ndim > n:
        return Refusal("the constant changes the rank", at=node)
    padded = constant.reshape((1,) * (n - constant.ndim) + constant.shape)
    if any(d != 1 for axis, d in enumerate(padded.shape) if axis != channel_axis):
        return Refusal("the constant is not one value per channel", at=node)
    c: np.ndarray = padded.astype(np.float64).reshape(() if padded.size == 1 else (-1,))
    if not np.isfinite(c).all():
        return Refusal("the constant is not finite", at=node)
    one, zero = np.ones(()), np.zeros(())
    if node.op_type == "Add":
        return Affine(one, c)
    if node.op_type == "Mul":
        return Affine(c, zero)
    if node.op_type == "Sub":
        return Affine(one, -c) if side == 0 else Affine(-one, c)
    if side != 0:
        return Refusal("the constant is divided, not the channel", at=node)
    if (c == 0).any():
        return Refusal("division by zero", at=node)
    return Affine(1.0 / c, zero)


def anchor_weights(anchor: ir.Node) -> Weights | Refusal:
    """The constant operands of an anchor."""
    w = constant_value(input_of(anchor, 1))
    if w is None:
        return Refusal(f"w of {anchor.op_type} is not constant", at=anchor)
    bias_value = input_of(anchor, 2)
    bias = constant_value(bias_value)
    if bias_value is not None and bias is None:
        return Refusal(f"b of {anchor.op_type} is not constant", at=anchor)
    if anchor.op_type == "Conv":
        return Weights(w, bias, w.shape[0])
    if anchor.op_type == "ConvTranspose":
        return Weights(w, bias, w.shape[1] * (anchor.attributes.get_int("group", 1) or 1))
    transposed = anchor.attributes.get_int("transB", 0)
    channels = w.shape[0 if transposed else 1]
    if bias is not None and bias.size not in (1, channels):
        return Refusal("C of Gemm is not one value per column", at=anchor)
    if bias is not None and bias.ndim == 2 and bias.shape[0] != 1:
        return Refusal("C of Gemm is not one value per column", at=anchor)
    return Weights(w, bias, channels)


def absorb(anchor: ir.Node, weights: Weights, affine: Affine) -> tuple[np.ndarray, np.ndarray] | Refusal:
    """Weight and bias of the anchor followed by the affine op, in the dtype of the weight.

    Returns:
        ``(w, b)`` with b of shape [C], or why they cannot be: a channel count that does not fit, or an overflow.
    """
    channels = weights.channels
    for part in (affine.scale, affine.shift):
        if part.ndim and part.shape[0] != channels:
            return Refusal(f"{part.shape[0]} constants for {channels} channels", at=anchor)
    scale = np.broadcast_to(affine.scale, (channels,))
    wide = weights.w.astype(np.float64)
    if anchor.op_type == "Conv":
        wide *= scale.reshape(-1, *([1] * (wide.ndim - 1)))
    elif anchor.op_type == "ConvTranspose":
        group = anchor.attributes.get_int("group", 1) or 1
        per_group = scale.reshape(group, 1, -1, *([1] * (wide.ndim - 2)))
        wide = (wide.reshape(group, -1, *wide.shape[1:]) * per_group).reshape(wide.shape)
    else:
        wide *= scale.reshape(-1, 1) if anchor.attributes.get_int("transB", 0) else scale
    old = np.zeros(channels) if weights.b is None else weights.b.astype(np.float64).reshape(-1)
    beta = float(anchor.attributes.get_float("beta", 1.0) or 0.0) if anchor.op_type == "Gemm" else 1.0
    bias = np.broadcast_to(old, (channels,)) * beta * scale + affine.shift
    with np.errstate(over="ignore"):
        w, b = wide.astype(weights.w.dtype), bias.astype(weights.w.dtype)
    if np.isfinite(wide).all() and not (np.isfinite(w).all() and np.isfinite(b).all()):
        return Refusal(f"the new weights overflow {weights.w.dtype}", at=anchor)
    return w, b
