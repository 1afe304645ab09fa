"""Graph invariants, checked after every pass.

1. SSA: every value has one definition and a name unique in its scope and the scopes around it.
2. Order: a value is defined before it is used; subgraphs see what came before the node that holds them.
3. Nothing dangles: operands, outputs and initializers belong to the graph they are used in.
4. Types: graph inputs and outputs have a dtype; initializers carry data of the declared dtype and shape.
5. Schemas: domain imported, arity and attributes as the op's schema says; unknown domains are opaque.
6. Calls: a call has its function; functions see only their own values, and do not recurse.
7. The signature (names and dtypes of inputs and outputs) is the one the pass was given, if it is told.

One walk over nodes and uses; an explicit stack, so that depth costs no Python frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from accelc.errors import PassError
from accelc.ir.schemas import arity_problem, domain_of, missing_input, schema_of
from accelc.ir.shapes import dtype_name, place
from accelc.ir.walk import all_nodes, subgraphs_of

FUNCTION_DOMAIN = "accelc.fused"
Signature = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
FunctionKey = tuple[str, str, str]


def signature(model: ir.Model) -> Signature:
    """Names and dtypes of the model's inputs and outputs, in order: what no pass may change."""
    return (
        tuple((str(value.name), dtype_name(value.dtype)) for value in model.graph.inputs),
        tuple((str(value.name), dtype_name(value.dtype)) for value in model.graph.outputs),
    )


def verify(model: ir.Model, *, after: str = "", expect: Signature | None = None) -> None:
    """Check the invariants of this module; return quietly if they hold.

    Args:
        model: The model to check; it is not changed.
        after: Name of the pass that ran last, for the error.
        expect: ``signature`` of the model before the pass.

    Raises:
        PassError: The first invariant that does not hold, with pass, node and value.
    """
    _Verifier(model, after).run(expect)


@dataclass
class _Frame:
    """One graph being walked: its remaining nodes, what it defined so far, the node it is nested in."""

    graph: ir.Graph
    nodes: Iterator[ir.Node]
    holder: ir.Node | None
    names: dict[str, ir.Value] = field(default_factory=dict)
    defined: set[int] = field(default_factory=set)
    pending: list[ir.Graph] = field(default_factory=list)
    current: ir.Node | None = None


class _Verifier:
    def __init__(self, model: ir.Model, after: str) -> None:
        self.model = model
        self.after = after
        self.opsets: dict[str, int] = {}
        self.owner = ""

    def fail(self, what: str, where: str | tuple[str, ...] = (), why: str = "") -> PassError:
        """The error for a broken invariant."""
        subject = f"pass {self.after}" if self.after else "the graph"
        places = ((where,) if isinstance(where, str) else where) + ((self.owner,) if self.owner else ())
        return PassError(
            f"{subject} left an invalid graph: {what}" if self.after else f"invalid graph: {what}",
            where=places,
            why=why,
            fix="this is a bug in the pass; leave it out with --passes=-NAME" if self.after else "",
        )

    def run(self, expect: Signature | None) -> None:
        """Check the main graph, then every function."""
        if expect is not None and signature(self.model) != expect:
            raise self.fail(
                "its signature changed",
                why=f"expected {_listed(expect)}, got {_listed(signature(self.model))}",
            )
        self.opsets = {domain_of(domain): version for domain, version in self.model.opset_imports.items()}
        self.walk(self.model.graph)
        for kind, values in (("input", self.model.graph.inputs), ("output", self.model.graph.outputs)):
            for value in values:
                if value.type is None:
                    raise self.fail(f"{kind} {value.name} has no type", where=f"{kind} {value.name}")
        for key, function in self.model.functions.items():
            self.owner = f"function {'.'.join(part for part in key if part)}"
            if key != function.identifier():
                raise self.fail(
                    "a function is filed under another name", why=f"it is {function.identifier()}"
                )
            if function.graph.initializers:
                raise self.fail("a function holds initializers", why="weights are inputs of a function")
            self.opsets = {domain_of(d): version for d, version in function.opset_imports.items()}
            self.walk(function.graph)
        self.owner = ""
        self.check_recursion()

    def walk(self, root: ir.Graph) -> None:
        """Check one graph and everything nested in it."""
        stack = [self.enter(root, None, [])]
        while stack:
            frame = stack[-1]
            if frame.pending:
                stack.append(self.enter(frame.pending.pop(), frame.current, stack))
                continue
            if frame.current is not None:
                self.define_outputs(frame, frame.current, stack)
                frame.current = None
            node = next(frame.nodes, None)
            if node is None:
                self.leave(frame, stack)
                stack.pop()
                continue
            self.check_node(node, frame, stack)
            frame.current = node
            frame.pending = subgraphs_of(node)[::-1] if node.attributes else []

    def enter(self, graph: ir.Graph, holder: ir.Node | None, stack: list[_Frame]) -> _Frame:
        """Start a graph: its inputs and initializers are defined."""
        frame = _Frame(graph, iter(graph), holder)
        where = place(holder, self.model) if holder is not None else f"graph {graph.name or '(unnamed)'}"
        for value in graph.inputs:
            if value.producer() is not None:
                raise self.fail(f"graph input {value.name} is also the output of a node", where=where)
            self.define(value, frame, stack, where)
        for name, value in graph.initializers.items():
            if value.name != name:
                raise self.fail(
                    f"initializer {name} is filed under another name", where=where, why=f"{value.name}"
                )
            self.check_initializer(value, where)
            if id(value) not in frame.defined:
                self.define(value, frame, stack, where)
        return frame

    def check_initializer(self, value: ir.Value, where: str) -> None:
        """An initializer has data, of the dtype and shape it says."""
        tensor = value.const_value
        if tensor is None:
            raise self.fail(f"initializer {value.name} has no data", where=where)
        if value.dtype is not None and value.dtype != tensor.dtype:
            why = f"declared {dtype_name(value.dtype)}, data {dtype_name(tensor.dtype)}"
            raise self.fail(f"initializer {value.name} has data of another dtype", where=where, why=why)
        if (
            value.shape is not None
            and any(
                isinstance(dim, int) and dim != size
                for dim, size in zip(value.shape, tensor.shape, strict=False)
            )
        ) or (value.shape is not None and len(value.shape) != len(tensor.shape)):
            why = f"declared {value.shape}, data {tensor.shape}"
            raise self.fail(f"initializer {value.name} has data of another shape", where=where, why=why)

    def define(self, value: ir.Value, frame: _Frame, stack: list[_Frame], where: str) -> None:
        """Record one definition; names are unique here and in the graphs around."""
        if not value.name:
            raise self.fail("a value has no name", where=where)
        for scope in (frame, *stack):
            if value.name in scope.names:
                raise self.fail(
                    f"value {value.name} is defined twice", where=where, why="names are unique (SSA)"
                )
        frame.names[value.name] = value
        frame.defined.add(id(value))

    def define_outputs(self, frame: _Frame, node: ir.Node, stack: list[_Frame]) -> None:
        """Outputs of a node become visible to what follows it."""
        where = place(node, self.model)
        for out in node.outputs:
            if out.producer() is not node:
                raise self.fail(f"output {out.name} does not point back at its node", where=where)
            if out.name:
                self.define(out, frame, stack[:-1], where)
            elif out.uses() or out.is_graph_output():
                raise self.fail("an output without a name is used", where=where)

    def check_node(self, node: ir.Node, frame: _Frame, stack: list[_Frame]) -> None:
        """Operands are visible, and the node fits its schema or function."""
        if node.graph is not frame.graph:
            raise self.fail(
                "a node does not belong to the graph that lists it", where=place(node, self.model)
            )
        for value in node.inputs:
            if value is not None and not any(id(value) in scope.defined for scope in reversed(stack)):
                producer = value.producer()
                why = "no node, input or initializer defines it"
                if producer is not None and producer.graph is not None:
                    why = f"it is defined later, by {place(producer, self.model)}, or out of scope"
                elif producer is not None:
                    why = f"its {place(producer, self.model)} was removed from the graph"
                raise self.fail(
                    f"{value.name} is used before it is defined", where=place(node, self.model), why=why
                )
        problem = self.op_problem(node)
        if problem is not None:
            raise self.fail(problem[0], where=place(node, self.model), why=problem[1])

    def op_problem(self, node: ir.Node) -> tuple[str, str] | None:
        """What is wrong with a node against its schema or function: (what, why)."""
        domain = domain_of(node.domain)
        if domain not in self.opsets:
            return f"domain {domain or 'ai.onnx'!r} is not imported", f"imported: {sorted(self.opsets)}"
        function = self.model.functions.get(node.op_identifier())
        if function is not None:
            if len(node.inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
                return (
                    "a call does not fit its function",
                    f"function takes {len(function.inputs)} and gives {len(function.outputs)}, "
                    f"call has {len(node.inputs)} and {len(node.outputs)}",
                )
            return None
        if domain == FUNCTION_DOMAIN:
            return "a call has no function", f"model has no function {node.op_type}"
        schema = schema_of(node.op_type, domain, node.version or self.opsets[domain])
        if schema is None:
            # Ops of domains that ONNX does not know are opaque; within ai.onnx everything has a schema.
            return (
                (f"there is no op {node.op_type}", f"in opset {self.opsets[domain]}") if not domain else None
            )
        given = [value is not None for value in node.inputs]
        named = [bool(out.name) for out in node.outputs]
        problem = arity_problem(schema, _last(given), _last(named)) or _missing(missing_input(schema, given))
        if problem is not None:
            return f"wrong operands of {node.op_type}", problem
        for name, attr in node.attributes.items():
            if name not in schema.attributes:
                return (
                    f"{node.op_type} has no attribute {name}",
                    f"it has {', '.join(sorted(schema.attributes))}",
                )
            if not attr.is_ref() and int(attr.type) != schema.attributes[name][0]:
                return f"attribute {name} of {node.op_type} has the wrong type", f"got {attr.type.name}"
        missing = [n for n, (_, need) in schema.attributes.items() if need and n not in node.attributes]
        return (f"{node.op_type} lacks attributes", ", ".join(sorted(missing))) if missing else None

    def leave(self, frame: _Frame, stack: list[_Frame]) -> None:
        """Graph outputs are defined in the graph; a subgraph may also return a captured value."""
        for value in frame.graph.outputs:
            scopes = stack if frame.holder is not None else [frame]
            if not any(id(value) in scope.defined for scope in scopes):
                raise self.fail(f"graph output {value.name} is not defined", where=f"output {value.name}")

    def check_recursion(self) -> None:
        """Functions call each other without a cycle."""
        calls: dict[FunctionKey, list[FunctionKey]] = {
            key: [
                node.op_identifier()
                for node in all_nodes(function.graph)
                if node.op_identifier() in self.model.functions
            ]
            for key, function in self.model.functions.items()
        }
        done: set[FunctionKey] = set()
        for start in calls:
            active: dict[FunctionKey, Iterator[FunctionKey]] = {}
            if start not in done:
                active[start] = iter(calls[start])
            while active:
                key = next(reversed(active))
                callee = next((name for name in active[key] if name not in done), None)
                if callee is None:
                    active.pop(key)
                    done.add(key)
                elif callee in active:
                    raise self.fail(
                        "a function calls itself", where=f"function {'.'.join(filter(None, callee))}"
                    )
                else:
                    active[callee] = iter(calls[callee])


def _last(given: list[bool]) -> int:
    return max((index + 1 for index, present in enumerate(given) if present), default=0)


def _missing(name: str | None) -> str | None:
    return f"required input {name} is left out" if name is not None else None


def _listed(found: Signature) -> str:
    return " -> ".join(", ".join(f"{dtype} {name}" for name, dtype in side) or "nothing" for side in found)
