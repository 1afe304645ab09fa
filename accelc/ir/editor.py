"""Editing a graph safely: what every pass needs, and nothing that knows a pass.

An ``Editor`` keeps the names of graph outputs, gives new values unique names, copies types and shapes,
records the original nodes a new node stands for, and remembers what it touched, so that rules are tried there
again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import PassError
from accelc.ir.pass_base import PassContext, node_name
from accelc.ir.reading import describe, is_dead, regions, use_count

ORIGIN_KEY = "accelc.origin"
"""Key in a node's metadata_props: JSON list of names of the original nodes it stands for."""

MAX_ORIGINS = 32
"""Names kept per node: merging a chain of n nodes step by step must not store n^2 names."""

NEARBY_USERS = 8
"""Users of a changed value that are looked at again; bounds the work per edit on values with many users."""

Attribute = int | float | str | Sequence[int] | Sequence[float] | ir.TensorProtocol | ir.Attr


def origin_of(node: ir.Node) -> tuple[str, ...]:
    """Names of the original nodes that ``node`` stands for; its own name if it is original."""
    text = node.metadata_props.get(ORIGIN_KEY)
    if text is None:
        return (node_name(node),)
    try:
        names = json.loads(text)
    except ValueError:
        return (node_name(node),)  # the model came with a foreign entry under our key
    return tuple(str(name) for name in names) if isinstance(names, list) else (node_name(node),)


def set_origin(node: ir.Node, sources: Sequence[ir.Node]) -> None:
    """Record that ``node`` stands for ``sources`` (their own origins are followed), first names kept."""
    names = dict.fromkeys(name for source in sources for name in origin_of(source))
    if names:
        node.metadata_props[ORIGIN_KEY] = json.dumps(list(names)[:MAX_ORIGINS])


class Editor:
    """Edits one model on behalf of a pass.

    Args:
        model: The model to edit in place.
        ctx: The pass context; the editor itself neither asks nor counts the rewrite budget.

    Attributes:
        touched: Nodes whose surroundings changed since the list was last cleared, for worklists.
        created: Nodes made since the list was last cleared.
    """

    def __init__(self, model: ir.Model, ctx: PassContext) -> None:
        """Names are collected at the first edit, so a pass that changes nothing pays nothing."""
        self.model = model
        self.ctx = ctx
        self.touched: list[ir.Node] = []
        self.created: list[ir.Node] = []
        self._names: set[str] | None = None
        self._node_names: set[str] = set()
        self._counters: dict[str, int] = {}
        self._fresh: set[ir.Value] = set()
        self._output_places: dict[ir.Graph, dict[ir.Value, list[int]]] = {}

    @property
    def opset(self) -> int:
        """Version of the standard domain that the model imports (0 if it imports none)."""
        return self.model.opset_imports.get("", 0)

    # -- names ---------------------------------------------------------------------------------------------
    def _known_names(self) -> set[str]:
        if self._names is None:
            self._names = set()
            for graph in regions(self.model):
                self._names.update(str(v.name) for v in graph.inputs)
                self._names.update(graph.initializers)
                for node in graph:
                    self._node_names.add(str(node.name))
                    self._names.update(str(v.name) for v in node.outputs)
        return self._names

    def _unique(self, base: str, taken: set[str]) -> str:
        name = base
        while name in taken:
            self._counters[base] = self._counters.get(base, 0) + 1
            name = f"{base}_{self._counters[base]}"
        taken.add(name)
        return name

    def fresh_name(self, base: str) -> str:
        """A value name used nowhere in the model: ``base``, else ``base_1``, ``base_2``..."""
        return self._unique(base or "v", self._known_names())

    def give_up_name(self, value: ir.Value) -> str:
        """Rename ``value``, so that its name is free for what replaces it; returns the name."""
        name = str(value.name)
        value.name = self.fresh_name(f"{name}_before")
        self._known_names().discard(name)
        return name

    # -- making --------------------------------------------------------------------------------------------
    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        before: ir.Node,
        like: ir.Value | Sequence[ir.Value] | None = None,
        origin: Sequence[ir.Node] = (),
        domain: str = "",
        outputs: int | None = None,
    ) -> ir.Node:
        """Make a node and insert it before ``before``, in its region.

        Args:
            op: Op type.
            inputs: Input values; None leaves an optional input out.
            attributes: Attributes as Python values or ``ir.Attr``.
            before: Where to insert.
            like: Values whose type, shape and name stem the outputs take, one per output.
            origin: Nodes the new one stands for; ``before`` if left empty.
            domain: Domain of the op.
            outputs: Number of outputs; by default one per value of ``like``, else one.

        Returns:
            The new node; pass its outputs to :meth:`replace`.
        """
        templates: Sequence[ir.Value] = [like] if isinstance(like, ir.Value) else list(like or ())
        count = outputs if outputs is not None else max(1, len(templates))
        names = self._known_names()
        attrs = ir.convenience.convert_attributes(dict(attributes or {}))
        node = ir.Node(domain, op, list(inputs), attrs, num_outputs=count)
        node.name = self._unique(node_name(before), self._node_names)
        for index, value in enumerate(node.outputs):
            template = templates[index] if index < len(templates) else None
            stem = str(template.name) if template is not None else f"{node.name}_out"
            value.name = self._unique(stem, names)
            if template is not None:
                inherit(template, value)
            self._fresh.add(value)
        set_origin(node, origin or (before,))
        graph = before.graph
        if graph is None:
            raise PassError(f"cannot insert {op}: {describe(before)} is in no graph")
        graph.insert_before(before, node)
        self.created.append(node)
        self.touched.append(node)
        return node

    def constant(
        self, array: np.ndarray | ir.TensorProtocol, *, near: ir.Node, name: str = "const"
    ) -> ir.Value:
        """A new initializer in the region of ``near`` with a unique name made from ``name``."""
        tensor: Any = array
        if isinstance(array, np.ndarray):
            tensor = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape))  # keeps rank 0
        unique = self.fresh_name(name)
        tensor.name = unique
        value = ir.Value(
            name=unique,
            shape=ir.Shape(tensor.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        graph = near.graph
        if not isinstance(graph, ir.Graph):
            raise PassError(f"cannot add a constant: {describe(near)} is in no graph")
        graph.initializers.add(value)
        return value

    # -- changing ------------------------------------------------------------------------------------------
    def set_input(self, node: ir.Node, index: int, value: ir.Value | None) -> None:
        """Make ``node`` read ``value`` at ``index`` (the inputs grow if needed)."""
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        old = node.inputs[index]
        node.replace_input_with(index, value)
        self.touched.append(node)
        if old is not None:
            self._touch_around(old)

    def can_replace(self, old: ir.Value, new: ir.Value) -> bool:
        """Whether :meth:`replace` needs no new Identity node to keep a graph output's name.

        A graph output can only be taken over by a value of the same region that a node produces and that is
        no output itself: an input, an initializer or a captured value cannot carry a second name.
        """
        if not old.is_graph_output():
            return True
        return new.producer() is not None and new.graph is old.graph and not new.is_graph_output()

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Make every reader of ``old`` read ``new``; a graph output keeps its name, type and shape.

        ``new`` takes the name of ``old`` if this editor made it or if it must (graph output). If ``new``
        cannot carry the name (see :meth:`can_replace`), an Identity of it does. The producer of ``new``
        itself goes on reading ``old``, so a node can be put behind a value.
        """
        if old is new:
            return
        inherit(old, new)
        if old.is_graph_output():
            source = new if self.can_replace(old, new) else self._identity_for(old, new)
            self._take_output(old, source)
        elif new in self._fresh and old.producer() is not None and not new.is_graph_output():
            self._swap_names(old, new)
        self._fresh.discard(new)
        for user, index in old.uses():
            if user is not new.producer():
                user.replace_input_with(index, new)
        self._touch_around(new)
        producer = old.producer()
        if producer is not None:
            self.touched.append(producer)

    def _identity_for(self, old: ir.Value, new: ir.Value) -> ir.Value:
        anchor = old.producer()
        if anchor is None:
            raise PassError(f"graph output {old.name} has no producer to be replaced")
        return self.node("Identity", [new], before=anchor, like=old).outputs[0]

    def _take_output(self, old: ir.Value, new: ir.Value) -> None:
        graph = old.graph
        assert graph is not None
        if graph not in self._output_places:
            places: dict[ir.Value, list[int]] = {}
            for index, value in enumerate(graph.outputs):
                places.setdefault(value, []).append(index)
            self._output_places[graph] = places
        new.type = old.type
        if old.shape is not None:
            new.shape = old.shape.copy()
        indices = self._output_places[graph].pop(old, [])
        for index in indices:
            graph.outputs[index] = new
        self._output_places[graph].setdefault(new, []).extend(indices)
        self._swap_names(old, new)

    def _swap_names(self, old: ir.Value, new: ir.Value) -> None:
        name, other = old.name, new.name
        old.name = self.fresh_name(f"{name}_replaced") if other is None else other
        new.name = name

    def remove(self, *nodes: ir.Node) -> None:
        """Remove nodes that nothing reads any more; users before producers.

        Raises:
            PassError: An output of a node is still read or is a graph output.
        """
        for node in nodes:
            if node.graph is None:
                continue
            if not is_dead(node):
                raise PassError(f"{describe(node)} cannot be removed: its output is still read")
            inputs = [value for value in dict.fromkeys(node.inputs) if value is not None]
            graph = node.graph
            # Detached by hand: Graph.remove(safe=True) walks all graph outputs for every node removed.
            node.resize_inputs(0)
            graph.remove(node)
            for value in inputs:
                self._touch_around(value)

    def sweep(self, nodes: Sequence[ir.Node]) -> None:
        """Remove those of ``nodes`` that became dead, and those of ``nodes`` that die by that."""
        group = set(nodes)
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if node.graph is None or not is_dead(node):
                continue
            producers = [p for p in node.predecessors() if p in group]
            self.remove(node)
            pending.extend(producers)

    def settle(self, root_name: str) -> None:
        """After a rewrite: the last node made takes the name of the root it replaced, if that is gone."""
        made = [node for node in self.created if node.graph is not None]
        if made and made[-1].name != root_name:
            name, made[-1].name = made[-1].name, root_name
            taken = next((node for node in made[:-1] if node.name == root_name), None)
            if taken is None:
                self._node_names.discard(str(name))
            else:
                taken.name = name  # the root had no name of its own, and an earlier node took it
        self.created.clear()

    def _touch_around(self, value: ir.Value) -> None:
        producer = value.producer()
        if producer is not None:
            self.touched.append(producer)
        if use_count(value) <= NEARBY_USERS:
            self.touched.extend(usage.node for usage in value.uses())


def inherit(old: ir.Value, new: ir.Value) -> None:
    """Give ``new`` the type, shape and metadata of ``old`` where it has none of its own."""
    if new.type is None:
        new.type = old.type
    if new.shape is None and old.shape is not None:
        new.shape = old.shape.copy()
    for key, entry in old.metadata_props.items():
        new.metadata_props.setdefault(key, entry)
