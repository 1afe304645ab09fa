"""What a lowering function works with: values, storage, views, constants, and the program it appends to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from accelc.ir.dims import Dim
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import itemsize
from accelc.targets.numba_cpu.lower.table import Op
from accelc.targets.numba_cpu.program import Call, Dims, Program, SymbolCall, Value, View


class LowerContext:
    """Appends calls and values to one program.

    Lowerings never look at the graph: an ``Op`` holds their operands, and the methods here make what they need.
    """

    def __init__(self, isa: Isa, program: Program | None = None) -> None:
        self.isa = isa
        self.program = program if program is not None else Program()
        self.by_name: dict[str, Value] = {}
        self.origin: tuple[str, ...] = ()
        self._arrays: dict[int, np.ndarray] = {}
        self._symbols: dict[int, Dims] = {}
        self._made: dict[Hashable, Value] = {}
        self._copies: dict[tuple[int, tuple[int, ...]], Value] = {}

    # ------------------------------------------------------------------ asking
    def array(self, value: Value) -> np.ndarray | None:
        """Contents of a constant of the model, by logical dims (row-major); None if it is not constant."""
        return self._arrays.get(value.id)

    def symbols(self, value: Value) -> Dims | None:
        """Elements of a small integer tensor as dims, flattened, if they are known before running."""
        known = self._symbols.get(value.id)
        if known is not None:
            return known
        array = self._arrays.get(value.id)
        if array is not None and array.dtype.kind in "iu" and array.size <= 4096:
            return tuple(int(x) for x in array.reshape(-1))
        return None

    def order_of(self, value: Value) -> tuple[int, ...] | None:
        """Physical order of a dense value's dims, outermost first; None if a slice makes it strided.

        A view's order follows from its base: permuting dims permutes the order.
        """
        chain: list[Value] = []
        while value.view is not None:
            chain.append(value)
            value = self.program.values[value.view.base]
        order = value.order or tuple(range(len(value.dims)))
        for step in reversed(chain):
            view = step.view
            assert view is not None
            if view.kind == "slice":
                return None
            if view.kind == "reshape":
                order = tuple(range(len(step.dims)))
            else:
                position = {dim: i for i, dim in enumerate(view.perm)}
                order = tuple(position[dim] for dim in order)
        return order

    def is_dense(self, value: Value, order: Sequence[int] = ()) -> bool:
        """Whether the value lies densely in ``order`` (row-major if empty); dims of extent 1 do not matter."""
        found = self.order_of(value)
        if found is None:
            return False
        wanted = tuple(order) or tuple(range(len(value.dims)))
        return self._essential(value, found) == self._essential(value, wanted)

    def only_split(self, value: Value, dims: Sequence[Dim]) -> bool:
        """Whether a slice of row-major memory takes these dims without a copy: each dim stays or is cut in several."""
        base = value
        while base.view is not None and base.view.kind == "slice":
            base = self.program.values[base.view.base]
        if base is value or not self.is_dense(base):
            return False
        pending = list(dims)[::-1]
        for extent in value.dims:
            if pending and pending[-1] == extent:
                pending.pop()
                continue
            cut = 1
            while (
                pending and isinstance(part := pending[-1], int) and isinstance(extent, int) and cut < extent
            ):
                cut *= part
                pending.pop()
            if cut != extent:
                return False
        return all(part == 1 for part in pending)

    @staticmethod
    def _essential(value: Value, order: Sequence[int]) -> tuple[int, ...]:
        return tuple(dim for dim in order if value.dims[dim] != 1)

    # ------------------------------------------------------------------ making values
    def temp(self, dtype: str, dims: Sequence[Dim], order: Sequence[int] = (), name: str = "") -> Value:
        """A temporary with its own storage."""
        return self._value(name or f"tmp{len(self.program.values)}", dtype, dims, "temp", order)

    def constant(self, array: np.ndarray, name: str) -> Value:
        """A constant in exactly this memory layout, for example packed weights."""
        array = np.ascontiguousarray(array)
        value = self._value(name, array.dtype.name, array.shape, "constant")
        self.program.constants[value.id] = array
        self.program.packed.add(value.id)
        return value

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value that ``make`` gave when this key was first asked for: weights that several calls share."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def model_constant(self, array: np.ndarray, name: str) -> Value:
        """A constant of the model: lowerings may read its contents, and it is kept only if a call uses it."""
        value = self._value(name, array.dtype.name, array.shape, "constant")
        self.program.constants[value.id] = array
        self._arrays[value.id] = array
        return value

    def any_constant(self, array: np.ndarray, name: str) -> Value:
        """A constant of the model, strings included: those are for host calls alone."""
        if array.dtype.kind not in "OUS":
            return self.model_constant(array, name)
        value = self._value(name, "object", (), "constant")
        text = [
            item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else str(item)
            for item in array.flat
        ]
        self.program.strings[value.id] = np.array(text, dtype=object).reshape(array.shape)
        return value

    def steer(self, value: Value, elements: Dims) -> None:
        """Say that the elements of an integer input are known before shapes are planned."""
        self._symbols[value.id] = elements
        self.program.steering[value.id] = elements

    def out(self, op: Op, i: int = 0, order: Sequence[int] = ()) -> Value:
        """Storage for output ``i`` of ``op``, its dims in the given physical order."""
        spec = op.outputs[i]
        value = self._value(spec.name, spec.dtype, spec.dims, "temp", order)
        self.by_name[spec.name] = value
        return value

    def view(self, op: Op, i: int, view: View) -> Value:
        """Output ``i`` of ``op`` is a view of an existing value (see program.View)."""
        spec = op.outputs[i]
        value = self.make_view(view, spec.dims, spec.name)
        self.by_name[spec.name] = value
        return value

    def make_view(self, view: View, dims: Sequence[Dim], name: str = "") -> Value:
        """A view that is not an output of the node, for example a permuted operand."""
        base = self.program.values[view.base]
        value = Value(
            len(self.program.values), name or f"{base.name}.view", base.dtype, tuple(dims), "view", (), view
        )
        self.program.values.append(value)
        array = self._arrays.get(base.id)
        if array is not None and (contents := _view_array(array, view, value.dims)) is not None:
            self._arrays[value.id] = contents
        elements = self._symbols.get(base.id)
        if elements is not None and view.kind == "reshape":
            self._symbols[value.id] = elements
        return value

    def same(self, op: Op, i: int, value: Value) -> Value:
        """Output ``i`` of ``op`` is ``value`` itself (Identity)."""
        self.by_name[op.outputs[i].name] = value
        return value

    def symbolic_out(self, op: Op, i: int, elements: Sequence[Dim]) -> Value:
        """Output ``i`` is a small integer tensor whose elements are dims: no kernel, filled in at bind time."""
        value = self.out(op, i)
        self._symbols[value.id] = tuple(elements)
        self.program.steps.append(SymbolCall(tuple(elements), value.id))
        return value

    def permuted(self, value: Value, perm: Sequence[int]) -> Value:
        """``value`` with its dims permuted, as a view: dim ``i`` is dim ``perm[i]`` of ``value``."""
        return self.make_view(
            View(value.id, "permute", perm=tuple(perm)), [value.dims[dim] for dim in perm], f"{value.name}.t"
        )

    def reshaped(self, value: Value, dims: Sequence[Dim]) -> Value:
        """``value`` with other dims, as a view; it is made row-major first."""
        base = self.ordered(value, ())
        return self.make_view(View(base.id, "reshape"), dims, f"{value.name}.r")

    def ordered(self, value: Value, order: Sequence[int] = ()) -> Value:
        """``value`` dense in ``order`` (row-major if empty): itself, or a copy shared by all who ask."""
        if self.is_dense(value, order):
            return value
        key = (value.id, tuple(order))
        if key not in self._copies:
            array = self._arrays.get(value.id)
            if array is not None and not order:
                self._copies[key] = self.model_constant(np.ascontiguousarray(array), value.name)
            else:
                copy = self.temp(value.dtype, value.dims, order, f"{value.name}.copy")
                self.emit("copy", self.copy_params(value.dtype), [value], [copy])
                self._copies[key] = copy
        return self._copies[key]

    @staticmethod
    def copy_params(dtype: str) -> dict[str, Any]:
        """Parameters of the ``copy`` family for a dtype."""
        return {"itemsize": itemsize(dtype)}

    def emit(
        self,
        family: str,
        params: Mapping[str, Any],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
        inplace: Sequence[int] = (),
    ) -> None:
        """Append one kernel call."""
        ids = tuple(-1 if value is None else value.id for value in inputs)
        self.program.steps.append(
            Call(family, dict(params), ids, tuple(value.id for value in outputs), tuple(inplace), self.origin)
        )

    def _value(
        self, name: str, dtype: str, dims: Sequence[Dim], kind: str, order: Sequence[int] = ()
    ) -> Value:
        wanted = tuple(order)
        if wanted == tuple(range(len(dims))):
            wanted = ()
        value = Value(len(self.program.values), name, dtype, tuple(dims), kind, wanted)
        self.program.values.append(value)
        return value


def _view_array(array: np.ndarray, view: View, dims: Dims) -> np.ndarray | None:
    """Contents of a view of a constant, if its dims are ints."""
    if view.kind == "permute":
        return array.transpose(view.perm)
    if not all(isinstance(dim, int) for dim in dims) or not isinstance(view.start, int):
        return None
    shape = tuple(int(dim) for dim in dims)
    if view.kind == "reshape":
        return array.reshape(shape)
    stop = view.start + shape[view.axis] * view.step
    index: list[slice] = [slice(None)] * array.ndim
    index[view.axis] = slice(view.start, stop if stop >= 0 else None, view.step)
    return array[tuple(index)]
