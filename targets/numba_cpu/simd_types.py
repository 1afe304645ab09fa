"""The vector type of kernel text, and how its operations are declared to Numba.

``Vec(dtype, lanes)`` is an LLVM vector held in registers. A mask is a ``Vec`` of booleans (one bit per lane).
An operation is declared by :func:`primitive` from a *rule*: a function from the Numba types of the operands to
``(result type, operand types, emitter)``, where the emitter writes LLVM IR. None means "does not apply".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import register_model

Emit = Callable[[ir.IRBuilder, Sequence[ir.Value]], ir.Value | None]
Rule = Callable[..., tuple[types.Type, Sequence[types.Type], Emit] | None]

I1 = ir.IntType(1)
I8 = ir.IntType(8)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
F32 = ir.FloatType()
F64 = ir.DoubleType()

DTYPES: dict[str, types.Type] = {
    "f32": types.float32,
    "f64": types.float64,
    "i8": types.int8,
    "u8": types.uint8,
    "i16": types.int16,
    "u16": types.uint16,
    "i32": types.int32,
    "u32": types.uint32,
    "i64": types.int64,
    "u64": types.uint64,
}
"""Element types by their name in kernel text."""

MASK = types.boolean


def element(dtype: types.Type) -> ir.Type:
    """The LLVM type of one vector lane."""
    if dtype == types.float32:
        return F32
    if dtype == types.float64:
        return F64
    if dtype == MASK:
        return I1
    return ir.IntType(dtype.bitwidth)


class Vec(types.Type):  # type: ignore[misc]
    """A vector of ``lanes`` elements of the Numba scalar type ``dtype``."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vec({dtype}, {lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        """The LLVM type of the vector."""
        return ir.VectorType(element(self.dtype), self.lanes)

    @property
    def is_float(self) -> bool:
        """Whether lanes are float32 or float64."""
        return isinstance(self.dtype, types.Float)

    @property
    def is_mask(self) -> bool:
        """Whether lanes are booleans."""
        return bool(self.dtype == MASK)

    @property
    def signed(self) -> bool:
        """Whether lanes are signed integers."""
        return isinstance(self.dtype, types.Integer) and bool(self.dtype.signed)


@register_model(Vec)
class _VecModel(PrimitiveModel):  # type: ignore[misc]
    """Vectors are held, passed and stored as the LLVM vector itself."""

    def __init__(self, manager: Any, frontend: Vec) -> None:
        super().__init__(manager, frontend, frontend.llvm)


@dataclass(frozen=True, eq=False)
class Primitive:
    """An operation of kernel text; compile_kernel.py makes it known to Numba.

    Args:
        name: Its name, for messages.
        rule: From operand types to (result type, operand types after implicit casts, emitter), or None.
        arity: Number of operands.
        literal: Whether the rule wants to see integer constants as literal types.
    """

    name: str
    rule: Rule
    arity: int
    literal: bool = False

    def __call__(self, *_operands: object) -> object:
        """Only there to say that kernel text cannot be run as Python."""
        raise TypeError(f"{self.name} is an operation of compiled kernels; it cannot be called from Python")


def primitive(name: str, rule: Rule, arity: int, *, literal: bool = False) -> Primitive:
    """Declare an operation; see :class:`Primitive`."""
    return Primitive(name, rule, arity, literal)


def constant(dtype: ir.Type, value: float | int) -> ir.Constant:
    """A scalar or splatted vector constant of LLVM type ``dtype``."""
    if isinstance(dtype, ir.VectorType):
        return ir.Constant(dtype, [ir.Constant(dtype.element, value)] * dtype.count)
    return ir.Constant(dtype, value)


def splat(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """Broadcast ``scalar`` to all lanes."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(I32, lanes), None))


def call(
    builder: ir.IRBuilder, name: str, result: ir.Type, args: Sequence[ir.Value], **options: Any
) -> ir.Value:
    """Call the LLVM intrinsic or C function ``name``, declaring it on first use."""
    module = builder.module
    function = module.globals.get(name)
    if function is None:
        function = ir.Function(module, ir.FunctionType(result, [arg.type for arg in args]), name)
    return builder.call(function, args, **options)


def overload_name(base: str, vector: ir.Type) -> str:
    """LLVM's name of ``base`` overloaded on a type: ``llvm.fma`` and <8 x float> give ``llvm.fma.v8f32``."""
    scalar = vector.element if isinstance(vector, ir.VectorType) else vector
    kind = "f32" if scalar == F32 else "f64" if scalar == F64 else f"i{scalar.width}"
    return f"{base}.v{vector.count}{kind}" if isinstance(vector, ir.VectorType) else f"{base}.{kind}"
