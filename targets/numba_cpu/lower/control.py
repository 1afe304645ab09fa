"""Lowering of If, Loop, Scan and SequenceMap: each body becomes a program of its own.

A body is lowered as a model by itself. What it takes from outside becomes inputs, constants stay constants (the
same memory), and integers that the outer graph knows symbolically *steer*: the body is planned for their values.
So nothing in a body depends on the symbols of the graph around it, and one plan per shapes serves all iterations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from accelc.ir import shapes
from accelc.ir.attributes import attributes
from accelc.ir.pass_base import Refusal
from accelc.ir.shape_rules import ELEMENTS
from accelc.ir.walk import all_graphs, all_nodes, subgraphs_of
from accelc.targets.numba_cpu.lower.host import captures_of, host_value
from accelc.targets.numba_cpu.lower.outputs import pruned
from accelc.targets.numba_cpu.program import BodyCall, Dims, Program

if TYPE_CHECKING:
    from accelc.targets.numba_cpu.lower.graph import Walk

_ROUNDS = 8
"""Bodies are lowered again while shapes of carried values turn out to change; then nothing is assumed of them."""
Formal = tuple[ir.TypeProtocol | None, ir.DataType | None, Dims | None]
"""What is known of an input of a body: type, dtype, dims."""


def steering_elements(value: ir.Value) -> Dims | None:
    """Elements of an input that steers shapes; None for ordinary inputs."""
    text = value.metadata_props.get(ELEMENTS)
    return None if text is None else tuple(json.loads(text))


def control_call(walk: Walk, node: ir.Node) -> BodyCall | Refusal:
    """The body call for ``node``, its bodies appended to the program."""
    graphs = subgraphs_of(node)
    if node.op_type == "If":
        graphs = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    programs: list[Program] = []
    fallbacks = []
    captured: list[list[ir.Value]] = []
    for graph in graphs:
        outside = captures_of(graph)
        body = _Body(walk, node, graph, outside).lower()
        if isinstance(body, Refusal):
            return body
        programs.append(body[0])
        fallbacks += body[1]
        captured.append([value for value in outside if not _is_constant(walk, value)])
    program = walk.ctx.program
    inputs = [-1 if value is None else walk.value(value).id for value in node.inputs]
    bodies = tuple(range(len(program.bodies), len(program.bodies) + len(programs)))
    program.bodies.extend(programs)
    walk.fallbacks.extend(fallbacks)
    params: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in attributes(node).items()
    }
    if _batched(walk, node):
        params["batched"] = 1
    return BodyCall(
        node.op_type,
        bodies,
        tuple(inputs) + tuple(walk.value(value).id for values in captured for value in values),
        len(inputs),
        tuple(len(values) for values in captured),
        tuple(host_value(walk.ctx, output, walk.dims) for output in node.outputs),
        params,
        walk.ctx.origin,
    )


def _batched(walk: Walk, node: ir.Node) -> bool:
    """Whether a Scan is of opset 8: with lengths as its first input, and a batch axis everywhere."""
    return node.op_type == "Scan" and (node.version or walk.model.opset_imports.get("", 1)) < 9


def _is_constant(walk: Walk, value: ir.Value) -> bool:
    """Whether a body gets the value as a constant of its own instead of as an input."""
    found = walk.value(value)
    return found.id in walk.ctx.program.strings or walk.ctx.array(found) is not None


class _Body:
    """One body on its way to a program.

    Args:
        walk: The walk over the graph around it.
        node: The control-flow node.
        graph: The body.
        outside: Values that it takes from outside.
    """

    def __init__(self, walk: Walk, node: ir.Node, graph: ir.Graph, outside: Sequence[ir.Value]) -> None:
        self.walk = walk
        self.node = node
        self.graph = graph
        self.outside = outside
        self.names: dict[str, str] = {}

    def lower(self) -> tuple[Program, list[tuple[str, str, str]]] | Refusal:
        """The program and its fallbacks; a refusal if a node can neither be compiled nor run on the host."""
        from accelc.targets.numba_cpu.lower.graph import walk_model

        formals = self._formals()
        for number in range(_ROUNDS + 1):
            if number == _ROUNDS:
                formals = [_general(formal, i) for i, formal in enumerate(formals)]
            model, constants = self._model(formals)
            inner = walk_model(model, self.walk.table, self.walk.isa, is_body=True, constants=constants)
            if inner.impossible:
                name, op, why = inner.impossible[0]
                return Refusal(f"node {name} ({op}) in its body: {why}")
            changed = self._unstable(formals, model.graph, final=number == _ROUNDS)
            if changed is None:
                return pruned(inner.ctx.program), inner.fallbacks
            formals = changed
        raise AssertionError("the last round is final")

    # ------------------------------------------------------------------ what is known of the inputs
    def _dim(self, dim: int | str) -> int | str:
        """A dim of the graph around, as a dim of the body: equal text gets the same fresh name."""
        return dim if isinstance(dim, int) else self.names.setdefault(dim, f"o{len(self.names)}")

    def _formals(self) -> list[Formal]:
        node, inputs = self.node, list(self.graph.inputs)
        scalar: Dims = ()
        if node.op_type == "Loop":
            given = [None, None, *node.inputs[2:]]
            found = [self._formal(formal, init) for formal, init in zip(inputs, given, strict=True)]
            number, flag = (
                (ir.TensorType(dtype), dtype, scalar) for dtype in (ir.DataType.INT64, ir.DataType.BOOL)
            )
            return [number, flag, *found[2:]]
        if node.op_type == "Scan":
            batched = _batched(self.walk, node)
            operands = node.inputs[1:] if batched else node.inputs
            states = len(operands) - node.attributes.get_int("num_scan_inputs", 0)
            axes = node.attributes.get_ints("scan_input_axes", ())
            found = []
            for i, (formal, init) in enumerate(zip(inputs, operands, strict=True)):
                axis = axes[i - states] if states <= i < states + len(axes) else 0
                dropped = (0,) * batched if i < states else (0, 0) if batched else (axis,)
                found.append(self._formal(formal, init, dropped))
            return found
        # Elements of a sequence may all have different shapes
        return [_general((f.type, f.dtype, _known(f)), i) for i, f in enumerate(inputs)]

    def _formal(self, formal: ir.Value, init: ir.Value | None, dropped: Sequence[int] = ()) -> Formal:
        """The dims of the first iteration; axes of batch and scan are dropped one after the other."""
        value = self.walk.value(init) if init is not None else None
        if value is None or value.dtype == "object":
            return formal.type, formal.dtype, None
        dims = [self._dim(dim) for dim in value.dims]
        for axis in dropped:
            if not -len(dims) <= axis < len(dims):
                return formal.type, formal.dtype, None
            del dims[axis]
        dtype = init.dtype if init is not None else formal.dtype
        return ir.TensorType(dtype or ir.DataType.UNDEFINED), dtype, tuple(dims)

    def _unstable(self, formals: list[Formal], graph: ir.Graph, *, final: bool) -> list[Formal] | None:
        """Formals with the dims made general that an iteration may change; None if there are none."""
        if self.node.op_type not in ("Loop", "Scan"):
            return None
        if self.node.op_type == "Loop":
            first, count, skip = 2, len(self.node.inputs) - 2, 1
        else:
            first, skip = 0, 0
            count = len(formals) - self.node.attributes.get_int("num_scan_inputs", 0)
        result, changed = list(formals), False
        for i in range(count):
            kind, dtype, dims = formals[first + i]
            made = graph.outputs[skip + i]
            found = shapes.dims_of(made)
            if dims is None or final:
                continue
            if found is None or len(found) != len(dims):
                result[first + i], changed = (kind, dtype, None), True
                continue
            general = tuple(
                dim if dim == other else f"f{first + i}_{axis}"
                for axis, (dim, other) in enumerate(zip(dims, found, strict=True))
            )
            if general != dims:
                result[first + i], changed = (kind, dtype, general), True
        return result if changed else None

    # ------------------------------------------------------------------ the body as a model
    def _model(self, formals: Sequence[Formal]) -> tuple[ir.Model, Mapping[ir.Value, np.ndarray]]:
        """A copy of the body that stands alone, and the arrays of its constants."""
        outer = self.walk.model
        graph = self.graph.clone(allow_outer_scope_values=True)
        graph.opset_imports.update(outer.opset_imports)
        for node in all_nodes(graph):
            for output in node.outputs:
                output.shape = None  # inferred under other names
        for value, (kind, dtype, dims) in zip(graph.inputs, formals, strict=True):
            if kind is not None:
                value.type = kind
            if dtype is not None and not isinstance(kind, ir.SequenceType | ir.OptionalType):
                value.dtype = dtype
            value.shape = None if dims is None else ir.Shape(dims)
        replaced: dict[ir.Value, ir.Value] = {}
        constants: dict[ir.Value, np.ndarray] = {}
        for value in self.outside:
            replaced[value] = self._inside(graph, value, constants)
        for owner in all_graphs(graph):
            for node in owner:
                for i, operand in enumerate(node.inputs):
                    if operand is not None and operand in replaced:
                        node.replace_input_with(i, replaced[operand])
            for i, output in enumerate(owner.outputs):
                if output in replaced:
                    owner.outputs[i] = replaced[output]
        model = ir.Model(graph, ir_version=outer.ir_version, functions=list(outer.functions.values()))
        return model, constants

    def _inside(self, graph: ir.Graph, value: ir.Value, constants: dict[ir.Value, np.ndarray]) -> ir.Value:
        """What stands for an outer value in the body."""
        found = self.walk.value(value)
        ctx = self.walk.ctx
        made = ir.Value(name=value.name, type=value.type)
        if found.dtype != "object":
            made.shape = ir.Shape([self._dim(dim) for dim in found.dims])
        if _is_constant(self.walk, value):
            array = ctx.array(found)
            tensor = value.const_value
            if tensor is None and array is not None:
                tensor = ir.tensor(array, name=value.name)
            constants[made] = array if array is not None else ctx.program.strings[found.id]
            made.const_value = tensor
            graph.initializers[str(value.name)] = made
            return made
        elements = ctx.symbols(found)
        if elements is not None and any(isinstance(element, str) for element in elements):
            made.metadata_props[ELEMENTS] = json.dumps([self._dim(element) for element in elements])
        graph.inputs.append(made)
        return made


def _known(formal: ir.Value) -> Dims | None:
    """Dims of a declared formal, as many as its rank."""
    dims = shapes.dims_of(formal)
    return None if dims is None else tuple(0 for _ in dims)


def _general(formal: Formal, i: int) -> Formal:
    """Nothing but the rank is taken as known."""
    kind, dtype, dims = formal
    return kind, dtype, None if dims is None else tuple(f"f{i}_{axis}" for axis in range(len(dims)))
