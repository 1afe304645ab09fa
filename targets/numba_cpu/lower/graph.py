"""The walk: a whole optimised graph into one program, one node at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from accelc.errors import LoweringError
from accelc.ir import shapes
from accelc.ir.attributes import attributes, constant_array, dtype_name
from accelc.ir.editor import origin_of
from accelc.ir.inline import inline_all
from accelc.ir.pass_base import Refusal, node_name
from accelc.targets.numba_cpu.body_run import OPS
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.expr import Expr, substitute
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.control import control_call, steering_elements
from accelc.targets.numba_cpu.lower.elementwise import ELEMENTWISE, emit_cluster
from accelc.targets.numba_cpu.lower.fused import Body, Source, Stage, read_body
from accelc.targets.numba_cpu.lower.host import host_call, tensor_dtype
from accelc.targets.numba_cpu.lower.outputs import emit_outputs, pruned
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op, OutSpec
from accelc.targets.numba_cpu.program import BodyCall, Dims, HostCall, Program, Value

FUSED = "accelc.fused"


@dataclass
class Lowered:
    """The program, and what could not be lowered: (node, op, reason) of each host call."""

    program: Program
    fallbacks: list[tuple[str, str, str]] = field(default_factory=list)


def lower_graph(model: ir.Model, table: LoweringTable, isa: Isa) -> Lowered:
    """Lower a model; ``model`` may be changed (clusters that no kernel takes are inlined).

    Raises LoweringError listing every node that can neither be compiled nor run on the reference.
    """
    _inline(model, _unreadable(model, table))
    walk = walk_model(model, table, isa)
    if walk.impossible:
        raise LoweringError(
            f"target 'cpu' cannot lower {len(walk.impossible)} node(s)",
            where=[f"node {name} ({op})" for name, op, _ in walk.impossible[:20]],
            why="; ".join(sorted({reason for _, _, reason in walk.impossible})),
        )
    return Lowered(pruned(walk.ctx.program), walk.fallbacks)


def walk_model(
    model: ir.Model,
    table: LoweringTable,
    isa: Isa,
    *,
    is_body: bool = False,
    constants: Mapping[ir.Value, np.ndarray] | None = None,
) -> Walk:
    """The walk over a model whose clusters all have a kernel; the others were inlined on the way.

    Bodies of control flow are walked in turn (see lower.control); the import bounds how deep they nest.
    """
    while True:
        shapes.infer(model)
        walk = Walk(model, table, isa, is_body=is_body)
        for value, array in (constants or {}).items():  # the same memory as outside
            walk.values[value] = walk.ctx.any_constant(array, str(value.name))
        walk.run()
        if not walk.refused_clusters:
            return walk
        _inline(model, walk.refused_clusters)


def _unreadable(model: ir.Model, table: LoweringTable) -> set[tuple[str, str, str]]:
    """Fused functions whose form no kernel takes, whatever their operands' dtypes."""
    bad = set()
    for key, function in model.functions.items():
        body = read_body(function, ["float32"] * len(function.inputs), ELEMENTWISE)
        if isinstance(body, Refusal) or (
            body.anchor is not None and (body.anchor.domain, body.anchor.op_type) not in table.fusable
        ):
            bad.add(key)
    return bad


def _inline(model: ir.Model, functions: set[tuple[str, str, str]]) -> None:
    if functions:
        inline_all(model, only=functions)


class Walk:
    """One pass over a graph, node by node."""

    def __init__(self, model: ir.Model, table: LoweringTable, isa: Isa, *, is_body: bool = False) -> None:
        self.model = model
        self.table = table
        self.isa = isa
        self.is_body = is_body
        self.ctx = LowerContext(isa)
        self.values: dict[ir.Value, Value] = {}
        self.bound: set[str] = set()
        self.fallbacks: list[tuple[str, str, str]] = []
        self.impossible: list[tuple[str, str, str]] = []
        self.refused_clusters: set[tuple[str, str, str]] = set()
        self.bodies: dict[tuple[object, ...], Body | Refusal] = {}

    def run(self) -> None:
        """Lower every node; what could not be is in ``impossible`` and ``refused_clusters``."""
        graph = self.model.graph
        for value in graph.inputs:
            self._input(value)
        for node in graph:
            self.ctx.origin = origin_of(node)
            self._node(node)
        if not self.refused_clusters and not self.impossible:
            outputs = [(str(value.name), self.value(value)) for value in graph.outputs]
            emit_outputs(self.ctx, outputs, is_body=self.is_body)

    # ------------------------------------------------------------------ values
    def _input(self, value: ir.Value) -> None:
        dtype = tensor_dtype(value)
        dims = self.dims(value) if dtype != "object" else ()
        for dim in dims:
            self.bound |= shapes.symbols_in(dim)
        made = Value(len(self.ctx.program.values), str(value.name), dtype, dims, "input")
        self.ctx.program.values.append(made)
        self.ctx.program.inputs.append(made.id)
        self.ctx.by_name[made.name] = made
        self.values[value] = made
        if isinstance(value.type, ir.OptionalType):
            self.ctx.program.optional.add(made.id)
        elements = steering_elements(value)
        if elements is not None:
            self.ctx.steer(made, elements)
            self.bound |= {name for element in elements for name in shapes.symbols_in(element)}

    def dims(self, value: ir.Value) -> Dims:
        """Dims of a value with a fresh symbol for each one that inference does not know."""
        known = shapes.dims_of(value) or ()
        return tuple(
            dim if dim is not None else f"_{len(self.ctx.program.values)}_{axis}"
            for axis, dim in enumerate(known)
        )

    def value(self, value: ir.Value) -> Value:
        """The program's value for a graph value; constants come in when first used."""
        if value not in self.values:
            tensor = value.const_value
            if tensor is None:
                raise LoweringError(
                    f"value '{value.name}' is used before it is made", why="the graph was not sorted"
                )
            self.values[value] = self.ctx.any_constant(tensor.numpy(), str(value.name))
        return self.values[value]

    def source(self, source: Source, call: ir.Node) -> Value:
        """An operand of a fused op: of its call, or a constant of its body."""
        if isinstance(source, int):
            operand = call.inputs[source]
            assert operand is not None  # fused calls have no absent operands
            return self.value(operand)
        return self.ctx.model_constant(source, f"{node_name(call)}.const")

    # ------------------------------------------------------------------ nodes
    def _node(self, node: ir.Node) -> None:
        if node.op_type == "Constant" and node.domain == "":
            array = constant_array(node)
            if array is None:
                self.impossible.append(
                    (node_name(node), node.op_type, "constants of this type have no kernel")
                )
                self._placeholder(node.outputs[0])
                return
            self.values[node.outputs[0]] = self.ctx.any_constant(array, str(node.outputs[0].name))
            return
        if self._symbolic(node) or (node.domain == "" and node.op_type in OPS and self._control(node)):
            return
        specs = self._specs(node)
        reason = self._why_not(specs) if specs is not None else "its output's dtype or rank is not known"
        if specs is not None and reason is None:
            refusal = self._lower(node, specs)
            if refusal is None:
                self._collect(node)
                return
            reason = refusal.why
        if node.domain == FUSED:
            self.refused_clusters.add(node.op_identifier())
            for output in node.outputs:  # keep walking, to find all clusters to inline in one round
                self._placeholder(output)
            return
        self._host(node, reason or "no kernel")

    def _symbolic(self, node: ir.Node) -> bool:
        """Shape arithmetic needs no kernel: its elements are dims."""
        if len(node.outputs) != 1 or (elements := shapes.symbolic_value(node.outputs[0])) is None:
            return False
        output = node.outputs[0]
        dims = shapes.dims_of(output)
        if dims is None or any(not isinstance(dim, int) for dim in dims) or dtype_name(output.dtype) is None:
            return False
        if any(not shapes.symbols_in(element) <= self.bound for element in elements):
            return False
        count = int(np.prod([int(dim) for dim in dims if dim is not None], dtype=np.int64))
        if count != len(elements):
            return False
        spec = OutSpec(str(output.name), str(dtype_name(output.dtype)), tuple(dim or 0 for dim in dims))
        op = Op(node.op_type, node.domain, 1, (), (spec,), {})
        self.values[output] = self.ctx.symbolic_out(op, 0, elements)
        return True

    def _specs(self, node: ir.Node) -> tuple[OutSpec, ...] | None:
        specs = []
        for output in node.outputs:
            if not output.name:
                specs.append(OutSpec("", "", ()))
                continue
            dtype = dtype_name(output.dtype)
            if dtype is None or output.shape is None:
                return None
            specs.append(OutSpec(str(output.name), dtype, self.dims(output)))
        return tuple(specs)

    def _why_not(self, specs: Sequence[OutSpec]) -> str | None:
        """Kernels need output shapes that follow from shapes alone."""
        for spec in specs:
            for dim in spec.dims:
                if unknown := shapes.symbols_in(dim) - self.bound:
                    return f"the shape of '{spec.name}' depends on data ({', '.join(sorted(unknown))})"
        return None

    def _lower(self, node: ir.Node, specs: tuple[OutSpec, ...]) -> Refusal | None:
        if node.domain == FUSED:
            return self._lower_fused(node, specs)
        version = node.version or self.model.opset_imports.get(node.domain, 1)
        rule = self.table.find(node.domain, node.op_type, version)
        if rule is None:
            return Refusal("no kernel")
        if any(
            attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
            for attr in node.attributes.values()
        ):
            return Refusal("subgraphs run on the reference")
        inputs = tuple(None if value is None else self.value(value) for value in node.inputs)
        if any(value is not None and value.dtype == "object" for value in inputs):
            return Refusal("an operand is no tensor of known rank and numeric dtype")
        return rule(
            self.ctx,
            Op(node.op_type, node.domain, version, inputs, specs, attributes(node), self.ctx.origin),
        )

    def _lower_fused(self, node: ir.Node, specs: tuple[OutSpec, ...]) -> Refusal | None:
        function = self.model.functions[node.op_identifier()]
        operands = [self.value(value) for value in node.inputs if value is not None]
        if any(operand.dtype == "object" for operand in operands):
            return Refusal("an operand is no tensor of known rank and numeric dtype")
        key = (node.op_identifier(), *(operand.dtype for operand in operands))
        if key not in self.bodies:
            self.bodies[key] = read_body(function, [operand.dtype for operand in operands], ELEMENTWISE)
        body = self.bodies[key]
        if isinstance(body, Refusal):
            return body
        if body.anchor is None:
            assert body.epilogue is not None
            expr, values = self._stage(body.epilogue, node)
            op = Op("elementwise", FUSED, 1, tuple(values), specs, {}, self.ctx.origin)
            return emit_cluster(self.ctx, op, expr, values)
        return self._lower_anchor(node, body, specs)

    def _lower_anchor(self, node: ir.Node, body: Body, specs: tuple[OutSpec, ...]) -> Refusal | None:
        anchor = body.anchor
        assert anchor is not None
        version = self.model.functions[node.op_identifier()].opset_imports.get(anchor.domain, 1)
        rule = self.table.find(anchor.domain, anchor.op_type, version)
        if rule is None:
            return Refusal("no kernel")
        inputs = [None if source is None else self.source(source, node) for source in body.inputs]
        prologue, epilogue = None, None
        prologue_operands: list[Value] = []
        epilogue_operands: list[Value] = []
        if body.prologue is not None:
            prologue, values = self._stage(body.prologue, node)
            full = _full_operand(values)
            if full is None:
                return Refusal("no operand of the prologue has the shape that the op reads")
            values[0], values[full] = values[full], values[0]
            swap = list(range(len(values)))
            swap[0], swap[full] = full, 0
            prologue = substitute(prologue, swap)
            inputs[0], prologue_operands = values[0], values[1:]
        if body.epilogue is not None:
            epilogue, epilogue_operands = self._stage(body.epilogue, node)
        op = Op(
            anchor.op_type,
            anchor.domain,
            version,
            tuple(inputs),
            specs,
            attributes(anchor),
            self.ctx.origin,
            prologue,
            tuple(prologue_operands),
            epilogue,
            tuple(epilogue_operands),
        )
        return rule(self.ctx, op)

    def _stage(self, stage: Stage, call: ir.Node) -> tuple[Expr, list[Value]]:
        return stage.expr, [self.source(source, call) for source in stage.operands if source is not None]

    def _collect(self, node: ir.Node) -> None:
        for output in node.outputs:
            if output.name and str(output.name) in self.ctx.by_name:
                self.values[output] = self.ctx.by_name[str(output.name)]

    def _placeholder(self, output: ir.Value) -> None:
        dtype = dtype_name(output.dtype) or "float32"
        self.values[output] = self.ctx.temp(dtype, self.dims(output), (), str(output.name))

    def _control(self, node: ir.Node) -> bool:
        """A body call, its bodies lowered to programs; False if they cannot be, and the reference must do."""
        made = control_call(self, node)
        if isinstance(made, Refusal):
            return False
        self._made(node, made)
        return True

    def _host(self, node: ir.Node, reason: str) -> None:
        name = node_name(node)
        call = host_call(self.ctx, node, self.value, self.dims, self.model.opset_imports, reason)
        if isinstance(call, Refusal):
            self.impossible.append((name, node.op_type, call.why))
            for output in node.outputs:
                self._placeholder(output)
            return
        if call.kind == "reference":
            self.fallbacks.append((name, node.op_type, reason))
        self._made(node, call)

    def _made(self, node: ir.Node, call: HostCall | BodyCall) -> None:
        """Take in a call and the values that it makes; symbols in their shapes are known behind it."""
        self.ctx.program.steps.append(call)
        for output in node.outputs:
            if output.name:
                made = self.values[output] = self.ctx.by_name[str(output.name)]
                self.bound.update(dim for dim in made.dims if shapes.is_symbol(dim) and isinstance(dim, str))


def _full_operand(values: Sequence[Value]) -> int | None:
    """Index of an operand to which all the others broadcast."""
    rank = max(len(value.dims) for value in values)
    for i, value in enumerate(values):
        if len(value.dims) == rank and all(
            other.dims[-1 - k] in (1, value.dims[-1 - k]) for other in values for k in range(len(other.dims))
        ):
            return i
    return None
