"""Shape arithmetic in NumPy while tracing: integers, and symbolic dims where a model is exported for any size.

Elements are Python ints in integer arrays, or dims of ``jax.export`` in object arrays. What only a known number can
answer (a branch, a count) refuses symbolic dims; the export is then made for the sizes at hand.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from accelc.errors import LoweringError

Operands = Sequence[Any]
Attributes = Mapping[str, Any]
Rule = Callable[[Operands, Attributes], np.ndarray]

RULES: dict[str, Rule] = {}
"""How ops of the standard domain are evaluated, by op."""

_INT64 = np.dtype(np.int64)


def is_symbolic(array: Any) -> bool:
    """Whether some element is a symbolic dim."""
    return isinstance(array, np.ndarray) and array.dtype == object


def tidy(values: Any, dtype: np.dtype[Any] = _INT64) -> np.ndarray:
    """An array of ``dtype`` if all elements are numbers, else an object array of ints and dims."""
    array = np.asarray(values, dtype=object)
    flat = array.reshape(-1)
    if all(isinstance(item, int | np.integer | np.bool_ | float | np.floating) for item in flat):
        return array.astype(dtype)
    return array


def shape_of(shape: Sequence[Any], attributes: Attributes) -> np.ndarray:
    """``Shape`` of a tensor with these dims, ``start`` and ``end`` as of ONNX Shape-15."""
    rank = len(shape)
    start, end = int(attributes.get("start", 0)), attributes.get("end")
    stop = rank if end is None else int(end)
    first, last = (min(max(n + rank if n < 0 else n, 0), rank) for n in (start, stop))
    return tidy(list(shape[first:last])).reshape(max(last - first, 0))


def size_of(shape: Sequence[Any]) -> np.ndarray:
    """``Size`` of a tensor with these dims."""
    return tidy(reduce(operator.mul, shape, 1)).reshape(())


def evaluate(op_type: str, operands: Operands, attributes: Attributes) -> np.ndarray | None:
    """The value of a node whose operands are known; None if there is no rule for it here.

    Raises:
        LoweringError: The answer depends on a dim that is only known as a symbol.
    """
    rule = RULES.get(op_type)
    if rule is None:
        return None
    try:
        with np.errstate(all="ignore"):
            return rule(operands, attributes)
    except Exception as error:  # NumPy and JAX raise a dozen classes for what they cannot do
        if any(is_symbolic(operand) for operand in operands):
            raise LoweringError(
                f"{op_type} of a symbolic shape has no single value", why=str(error).split("\n", 1)[0]
            ) from error
        return None


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        for name in names:
            RULES[name] = rule
        return rule

    return register


def _like(result: Any, *sources: Any) -> np.ndarray:
    """Back to the dtype of the operands if nothing symbolic is left."""
    dtype = next((s.dtype for s in sources if not is_symbolic(s)), _INT64)
    return tidy(result, dtype) if is_symbolic(np.asarray(result)) else np.asarray(result).astype(dtype)


def _truncated(a: Any, b: Any) -> Any:
    """Quotient towards zero; of dims, which are not negative, the floor."""
    if isinstance(a, int | np.integer) and isinstance(b, int | np.integer):
        return int(a) // int(b) if (a >= 0) == (b > 0) else -(abs(int(a)) // abs(int(b)))
    return a // b


def _arithmetic(op: Callable[[Any, Any], Any]) -> Rule:
    def rule(operands: Operands, attributes: Attributes) -> np.ndarray:
        a, b = operands
        if is_symbolic(a) or is_symbolic(b):
            return _like(_apply(op, a, b), a, b)
        return np.asarray(op(a, b), dtype=a.dtype)

    return rule


def _apply(op: Callable[..., Any], *arrays: Any) -> np.ndarray:
    """Element by element in Python, broadcast."""
    parts = np.broadcast_arrays(*(np.asarray(a, dtype=object) for a in arrays))
    result = np.empty(parts[0].shape, dtype=object)
    flat = result.reshape(-1)
    for i, items in enumerate(zip(*(part.reshape(-1) for part in parts), strict=True)):
        flat[i] = op(*(_plain(item) for item in items))
    return flat.reshape(parts[0].shape)


def _plain(item: Any) -> Any:
    return item.item() if isinstance(item, np.generic) else item


RULES["Add"] = _arithmetic(operator.add)
RULES["Sub"] = _arithmetic(operator.sub)
RULES["Mul"] = _arithmetic(operator.mul)


def _minmax(pick: Callable[[Any, Any], Any], symbolic: str) -> Rule:
    def rule(operands: Operands, attributes: Attributes) -> np.ndarray:
        if not any(is_symbolic(x) for x in operands):
            return np.asarray(reduce(pick, operands), dtype=operands[0].dtype)
        import jax

        combine = jax.core.max_dim if symbolic == "max" else jax.core.min_dim
        return _like(reduce(lambda a, b: _apply(combine, a, b), operands), *operands)

    return rule


RULES["Max"] = _minmax(np.maximum, "max")
RULES["Min"] = _minmax(np.minimum, "min")


@_rule("Div")
def _div(operands: Operands, attributes: Attributes) -> np.ndarray:
    a, b = operands
    if is_symbolic(a) or is_symbolic(b):
        return _like(_apply(_truncated, a, b), a, b)
    if a.dtype.kind in "iu":
        if (b == 0).any():
            raise ValueError("integer division by zero")
        return _apply(_truncated, a, b).astype(a.dtype)
    return np.asarray(a / b, dtype=a.dtype)


@_rule("Mod")
def _mod(operands: Operands, attributes: Attributes) -> np.ndarray:
    a, b = operands
    if is_symbolic(a) or is_symbolic(b):
        return _like(_apply(operator.mod, a, b), a, b)
    if a.dtype.kind in "iu" and (b == 0).any():
        raise ValueError("integer modulus by zero")
    return np.asarray((np.fmod if attributes.get("fmod") else np.mod)(a, b), dtype=a.dtype)


@_rule("Neg")
def _neg(operands: Operands, attributes: Attributes) -> np.ndarray:
    return _like(-operands[0], operands[0])


def _numeric(function: Callable[[Any], Any]) -> Rule:
    def rule(operands: Operands, attributes: Attributes) -> np.ndarray:
        if is_symbolic(operands[0]):
            raise TypeError("only numbers have it")
        return np.asarray(function(operands[0]), dtype=operands[0].dtype)

    return rule


for _name, _function in (
    ("Abs", np.abs),
    ("Sqrt", np.sqrt),
    ("Ceil", np.ceil),
    ("Floor", np.floor),
    ("Not", np.logical_not),
):
    RULES[_name] = _numeric(_function)


def _comparison(op: Callable[[Any, Any], Any]) -> Rule:
    def rule(operands: Operands, attributes: Attributes) -> np.ndarray:
        a, b = operands
        if is_symbolic(a) or is_symbolic(b):
            return _apply(op, a, b).astype(bool)  # an answer that depends on the size raises
        return np.asarray(op(a, b))

    return rule


for _name, _compare in (
    ("Less", operator.lt),
    ("LessOrEqual", operator.le),
    ("Greater", operator.gt),
    ("GreaterOrEqual", operator.ge),
):
    RULES[_name] = _comparison(_compare)


def _equal(a: Any, b: Any) -> bool:
    """Whether two dims are equal; TypeError if that depends on the size (JAX itself would say no)."""
    difference = a - b
    if isinstance(difference, int):
        return difference == 0
    for compare, bound in ((operator.ge, 1), (operator.le, -1)):
        with contextlib.suppress(Exception):  # inconclusive; its class is not public
            if compare(difference, bound):
                return False
    raise TypeError(f"whether {a} is {b} depends on the size")


@_rule("Equal")
def _equality(operands: Operands, attributes: Attributes) -> np.ndarray:
    a, b = operands
    if is_symbolic(a) or is_symbolic(b):
        return _apply(_equal, a, b).astype(bool)
    return np.asarray(a == b)


RULES["And"] = _comparison(lambda a, b: a & b)
RULES["Or"] = _comparison(lambda a, b: a | b)
RULES["Xor"] = _comparison(lambda a, b: a ^ b)


@_rule("Where")
def _where(operands: Operands, attributes: Attributes) -> np.ndarray:
    condition, a, b = operands
    if is_symbolic(a) or is_symbolic(b):
        return _like(np.where(condition.astype(bool), a, b), a, b)
    return np.asarray(np.where(condition, a, b), dtype=a.dtype)


@_rule("Identity")
def _identity(operands: Operands, attributes: Attributes) -> np.ndarray:
    return np.asarray(operands[0])


@_rule("Cast")
def _cast(operands: Operands, attributes: Attributes) -> np.ndarray:
    import onnx_ir as ir

    dtype = ir.DataType(int(attributes["to"])).numpy()
    x = operands[0]
    if is_symbolic(x):
        if dtype.kind not in "iu":
            raise TypeError("a symbolic dim is an integer")
        return np.asarray(x)
    if dtype.kind in "iu" and x.dtype.kind not in "iub":
        if not np.isfinite(x).all():
            raise ValueError("no number")  # the lowering knows what ONNX wants
        return np.asarray(np.trunc(x), dtype=dtype)
    if dtype.kind not in "iubf" or (dtype.itemsize < 2 and dtype.kind == "f"):
        raise TypeError("left to the lowering")
    return np.asarray(x, dtype=dtype)


@_rule("Concat")
def _concat(operands: Operands, attributes: Attributes) -> np.ndarray:
    axis = int(attributes.get("axis", 1))
    return _like(np.concatenate([np.asarray(x) for x in operands], axis), *operands)


@_rule("Gather")
def _gather(operands: Operands, attributes: Attributes) -> np.ndarray:
    x, indices = operands
    return np.asarray(np.take(x, np.asarray(indices, dtype=np.int64), axis=int(attributes.get("axis", 0))))


def _axes(operands: Operands, attributes: Attributes) -> tuple[int, ...] | None:
    given = operands[1] if len(operands) > 1 and operands[1] is not None else attributes.get("axes")
    return None if given is None else tuple(int(axis) for axis in np.asarray(given).reshape(-1))


@_rule("Unsqueeze")
def _unsqueeze(operands: Operands, attributes: Attributes) -> np.ndarray:
    return np.asarray(np.expand_dims(operands[0], _axes(operands, attributes) or ()))


@_rule("Squeeze")
def _squeeze(operands: Operands, attributes: Attributes) -> np.ndarray:
    return np.asarray(np.squeeze(operands[0], _axes(operands, attributes)))


@_rule("Reshape")
def _reshape(operands: Operands, attributes: Attributes) -> np.ndarray:
    x, shape = operands
    if is_symbolic(shape):
        raise TypeError("of unknown size")
    wanted = [int(n) for n in shape]
    if not attributes.get("allowzero"):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return np.asarray(x).reshape(wanted)


@_rule("Flatten")
def _flatten(operands: Operands, attributes: Attributes) -> np.ndarray:
    x, axis = operands[0], int(attributes.get("axis", 1))
    axis = axis + x.ndim if axis < 0 else axis
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return np.asarray(x.reshape(rows, -1 if x.size else int(np.prod(x.shape[axis:], dtype=np.int64))))


@_rule("Transpose")
def _transpose(operands: Operands, attributes: Attributes) -> np.ndarray:
    return np.asarray(np.transpose(operands[0], attributes.get("perm")))


@_rule("Slice")
def _slice(operands: Operands, attributes: Attributes) -> np.ndarray:
    x, starts, ends, *rest = operands
    axes = rest[0] if rest and rest[0] is not None else np.arange(len(starts))
    steps = rest[1] if len(rest) > 1 and rest[1] is not None else np.ones(len(starts), np.int64)
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop: int | None = int(end)
        if int(step) < 0 and int(end) < -x.shape[int(axis)]:
            stop = None
        index[int(axis)] = slice(int(start), stop, int(step))
    return np.asarray(x[tuple(index)])


@_rule("Expand")
def _expand(operands: Operands, attributes: Attributes) -> np.ndarray:
    x, shape = operands
    wanted = np.broadcast_shapes(x.shape, tuple(int(n) for n in shape))
    _bounded(wanted)
    return np.array(np.broadcast_to(x, wanted))


@_rule("Tile")
def _tile(operands: Operands, attributes: Attributes) -> np.ndarray:
    x, repeats = operands
    _bounded([n * int(r) for n, r in zip(x.shape, repeats, strict=True)])
    return np.tile(x, [int(r) for r in repeats])


@_rule("ConstantOfShape")
def _constant_of_shape(operands: Operands, attributes: Attributes) -> np.ndarray:
    shape = [int(n) for n in operands[0]]
    _bounded(shape)
    value = attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value).reshape(-1)
    return np.full(shape, fill[0], fill.dtype)


@_rule("Range")
def _range(operands: Operands, attributes: Attributes) -> np.ndarray:
    start, limit, delta = (np.asarray(x).reshape(()) for x in operands)
    if any(is_symbolic(x) for x in operands):
        raise TypeError("of unknown length")
    count = max(int(np.ceil((limit - start) / delta)), 0)
    _bounded([count])
    return np.asarray(start + np.arange(count).astype(start.dtype) * delta, dtype=start.dtype)


def _bounded(shape: Sequence[int]) -> None:
    """Steering values are small; what is large is made by the compiled program."""
    if int(np.prod(shape, dtype=np.float64)) > 1 << 24:
        raise ValueError("too large to be a steering value")


def _reduction(function: Callable[..., Any]) -> Rule:
    def rule(operands: Operands, attributes: Attributes) -> np.ndarray:
        x = operands[0]
        axes = _axes(operands, attributes)
        if axes == () or axes is None:
            if attributes.get("noop_with_empty_axes"):
                return np.asarray(x)
            axes = None
        if is_symbolic(x) and function not in (np.prod, np.sum):
            raise TypeError("the order of symbolic dims is not known")
        result = np.asarray(function(x, axis=axes, keepdims=bool(attributes.get("keepdims", 1))))
        return tidy(result) if is_symbolic(x) else result.astype(x.dtype)

    return rule


for _name, _reduce in (
    ("ReduceProd", np.prod),
    ("ReduceSum", np.sum),
    ("ReduceMax", np.max),
    ("ReduceMin", np.min),
):
    RULES[_name] = _reduction(_reduce)
