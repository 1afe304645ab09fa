"""Normalisations and activations of com.microsoft.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from accelc.frontend.microsoft.call import Call, Rule


def _skip_sum(call: Call, bias: int) -> str:
    total = call.add("Add", call.operand(0), call.operand(1))
    return call.add("Add", total, call.operand(bias)) if call.has(bias) else total


def skip_layer_norm(call: Call) -> None:
    """LayerNormalization(input + skip + bias)."""
    call.refuse_results(1, 2)
    total = _skip_sum(call, 4)
    beta = [call.operand(3)] if call.has(3) else []
    eps = float(call.attr("epsilon", 1e-12))
    call.gives(0, call.add("LayerNormalization", total, call.operand(2), *beta, axis=-1, epsilon=eps))
    call.gives(3, total)


def skip_rms_norm(call: Call) -> None:
    """RMSNormalization(input + skip + bias)."""
    call.refuse_results(1, 2)
    total = _skip_sum(call, 3)
    eps = float(call.attr("epsilon", 1e-12))
    call.gives(0, call.add("RMSNormalization", total, call.operand(2), axis=-1, epsilon=eps))
    call.gives(3, total)


def rms_norm(call: Call) -> None:
    """RMSNormalization."""
    call.refuse_results(1)
    eps, axis = float(call.attr("epsilon", 1e-5)), int(call.attr("axis", -1))
    call.gives(0, call.add("RMSNormalization", call.operand(0), call.operand(1), axis=axis, epsilon=eps))


def embed_layer_norm(call: Call) -> None:
    """LayerNormalization of word + position + segment embeddings; the mask's sum."""
    ids = call.operand(0)
    total = call.add("Gather", call.operand(2), ids)
    if call.has(8):
        position = call.add("Gather", call.operand(3), call.operand(8))
    else:
        length = call.add("Shape", ids, start=1, end=2)
        position = call.add("Slice", call.operand(3), call.ints(0), length, call.ints(0))
    total = call.add("Add", total, position)
    if call.has(1) and call.has(4):
        total = call.add("Add", total, call.add("Gather", call.operand(4), call.operand(1)))
    eps = float(call.attr("epsilon", 1e-12))
    normal = call.add("LayerNormalization", total, call.operand(5), call.operand(6), axis=-1, epsilon=eps)
    call.gives(0, normal)
    call.gives(2, total)
    if call.wants(1):
        if call.has(7):
            call.gives(1, call.add("ReduceSum", call.operand(7), call.ints(1), keepdims=0))
        else:
            zero = call.add("Cast", call.ints(0), to=6)
            call.gives(1, call.add("Expand", zero, call.add("Shape", ids, start=0, end=1)))


def _gelu(approximate: str) -> Rule:
    def rule(call: Call) -> None:
        x = call.operand(0)
        if call.has(1):
            x = call.add("Add", x, call.operand(1))
        call.gives(0, call.add("Gelu", x, approximate=approximate))

    return rule


def quick_gelu(call: Call) -> None:
    """X * sigmoid(alpha x)."""
    call.gives(0, call.add("Swish", call.operand(0), alpha=float(call.attr("alpha", 1.702))))


RULES: dict[str, Rule] = {
    "SkipLayerNormalization": skip_layer_norm,
    "SkipSimplifiedLayerNormalization": skip_rms_norm,
    "SimplifiedLayerNormalization": rms_norm,
    "EmbedLayerNormalization": embed_layer_norm,
    "FastGelu": _gelu("tanh"),
    "BiasGelu": _gelu("none"),
    "Gelu": _gelu("none"),
    "QuickGelu": quick_gelu,
}
