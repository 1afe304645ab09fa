"""The walk: a whole optimised graph into one program, one node at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from accelc.errors import LoweringError, UnsupportedError
from accelc.ir import shapes
from accelc.ir.inline import inline_all
from accelc.ir.pass_base import Refusal, node_name
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.expr import Expr, substitute
from accelc.targets.numba_cpu.lower.attributes import attributes, constant_array, dtype_name
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import ELEMENTWISE, emit_cluster
from accelc.targets.numba_cpu.lower.fused import Body, Source, Stage, read_body
from accelc.targets.numba_cpu.lower.host import host_call
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op, OutSpec
from accelc.targets.numba_cpu.program import Dims, Program, Value

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
    while True:
        shapes.infer(model)
        walk = _Walk(model, table, isa)
        walk.run()
        if not walk.refused_clusters:
            break
        _inline(model, walk.refused_clusters)
    if walk.impossible:
        raise LoweringError(
            f"target 'cpu' cannot lower {len(walk.impossible)} node(s)",
            where=[f"node {name} ({op})" for name, op, _ in walk.impossible[:20]],
            why="; ".join(sorted({reason for _, _, reason in walk.impossible})),
        )
    return Lowered(_pruned(walk.ctx.program), walk.fallbacks)


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


class _Walk:
    def __init__(self, model: ir.Model, table: LoweringTable, isa: Isa) -> None:
        self.model = model
        self.table = table
        self.ctx = LowerContext(isa)
        self.values: dict[ir.Value, Value] = {}
        self.bound: set[str] = set()
        self.fallbacks: list[tuple[str, str, str]] = []
        self.impossible: list[tuple[str, str, str]] = []
        self.refused_clusters: set[tuple[str, str, str]] = set()
        self.bodies: dict[tuple[object, ...], Body | Refusal] = {}

    def run(self) -> None:
        graph = self.model.graph
        for value in graph.inputs:
            self._input(value)
        for node in graph:
            self.ctx.origin = origin_of(node)
            self._node(node)
        if not self.refused_clusters and not self.impossible:
            self._outputs()

    # ------------------------------------------------------------------ values
    def _input(self, value: ir.Value) -> None:
        dtype = dtype_name(value.dtype)
        if dtype is None or value.shape is None:
            raise UnsupportedError(
                f"target 'cpu' needs a tensor of known rank and numeric dtype for input '{value.name}'",
                where=f"input {value.name}",
                why=f"it is {value.type} {value.shape}",
            )
        dims = self._dims(value)
        for dim in dims:
            self.bound |= shapes.symbols_in(dim)
        made = Value(len(self.ctx.program.values), str(value.name), dtype, dims, "input")
        self.ctx.program.values.append(made)
        self.ctx.program.inputs.append(made.id)
        self.ctx.by_name[made.name] = made
        self.values[value] = made

    def _dims(self, value: ir.Value) -> Dims:
        """Dims with a fresh symbol for each one that inference does not know."""
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
            self.values[value] = self.ctx.model_constant(tensor.numpy(), str(value.name))
        return self.values[value]

    def source(self, source: Source, call: ir.Node) -> Value:
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
                return
            self.values[node.outputs[0]] = self.ctx.model_constant(array, str(node.outputs[0].name))
            return
        if self._symbolic(node):
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
            specs.append(OutSpec(str(output.name), dtype, self._dims(output)))
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
        return rule(
            self.ctx,
            Op(node.op_type, node.domain, version, inputs, specs, attributes(node), self.ctx.origin),
        )

    def _lower_fused(self, node: ir.Node, specs: tuple[OutSpec, ...]) -> Refusal | None:
        function = self.model.functions[node.op_identifier()]
        operands = [self.value(value) for value in node.inputs if value is not None]
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
        self.values[output] = self.ctx.temp(dtype, self._dims(output), (), str(output.name))

    def _host(self, node: ir.Node, reason: str) -> None:
        name = node_name(node)
        call = host_call(self.ctx, node, self.value, self._dims, self.model.opset_imports, reason)
        if isinstance(call, Refusal):
            self.impossible.append((name, node.op_type, call.why))
            for output in node.outputs:
                self._placeholder(output)
            return
        self.fallbacks.append((name, node.op_type, reason))
        self.ctx.program.steps.append(call)
        for output, made in zip((o for o in node.outputs if o.name), call.outputs, strict=True):
            self.values[output] = self.ctx.program.values[made]
            for dim in self.values[output].dims:
                if isinstance(dim, str) and dim.isidentifier():
                    self.bound.add(dim)

    # ------------------------------------------------------------------ outputs
    def _outputs(self) -> None:
        """Every graph output gets storage of its own, row-major, that no other output shares."""
        program = self.ctx.program
        taken: set[int] = set()
        for value in self.model.graph.outputs:
            found = self.value(value)
            root = program.values[program.root(found.id)]
            own = (
                root.kind == "temp"
                and root.id not in taken
                and self.ctx.is_dense(found)
                and self.ctx.is_dense(root)
                and not _sliced(program, found)
            )
            if not own:
                copy = self.ctx.temp(found.dtype, found.dims, (), str(value.name))
                self.ctx.origin = ()
                self.ctx.emit("copy", self.ctx.copy_params(found.dtype), [found], [copy])
                found = root = copy
            taken.add(root.id)
            program.values[root.id] = Value(root.id, root.name, root.dtype, root.dims, "output", root.order)
            program.outputs.append(found.id)
            program.output_names.append(str(value.name))


def _sliced(program: Program, value: Value) -> bool:
    while value.view is not None:
        if value.view.kind == "slice":
            return True
        value = program.values[value.view.base]
    return False


def _full_operand(values: Sequence[Value]) -> int | None:
    """Index of an operand to which all the others broadcast."""
    rank = max(len(value.dims) for value in values)
    for i, value in enumerate(values):
        if len(value.dims) == rank and all(
            other.dims[-1 - k] in (1, value.dims[-1 - k]) for other in values for k in range(len(other.dims))
        ):
            return i
    return None


def _pruned(program: Program) -> Program:
    """Without steps and constants that no output needs."""
    needed = {program.root(value) for value in program.outputs}
    kept = []
    for step in reversed(program.steps):
        outputs = (step.output,) if not hasattr(step, "outputs") else step.outputs
        if not any(program.root(value) in needed for value in outputs if value >= 0):
            continue
        kept.append(step)
        needed |= {program.root(value) for value in getattr(step, "inputs", ()) if value >= 0}
    program.steps = kept[::-1]
    program.constants = {i: array for i, array in program.constants.items() if i in needed}
    program.packed &= set(program.constants)
    return program


def origin_of(node: ir.Node) -> tuple[str, ...]:
    """Names of the nodes of the user's model that ``node`` stands for."""
    recorded = node.metadata_props.get("accelc.origin")
    return tuple(recorded.split(",")) if recorded else (node_name(node),)
