"""Rules and the greedy driver that applies them: one walk for all rules, indexed by root op.

A rule looks at one node (its root) and answers with a Match, with a Refusal that says why not, or with None
if the node is of no interest. The driver keeps a worklist: what an edit touched is looked at again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import onnx_ir as ir

from accelc.errors import AccelcError, PassError
from accelc.ir.editor import (
    MAX_ORIGINS,
    ORIGIN_KEY,
    Attribute,
    Editor,
    inherit,
    origin_of,
    set_origin,
)
from accelc.ir.pass_base import Pass, PassContext, PassResult, Refusal, node_name
from accelc.ir.reading import (
    constant_ints,
    constant_tensor,
    constant_value,
    describe,
    input_of,
    is_dead,
    is_op,
    is_random,
    operand,
    rank,
    regions,
    same_dim,
    same_shape,
    sole_user,
    static_shape,
    subgraphs_of,
    use_count,
)

__all__ = [
    "MAX_ORIGINS",
    "ORIGIN_KEY",
    "Attribute",
    "Editor",
    "Match",
    "Refusal",
    "Rule",
    "RulePass",
    "apply_rules",
    "constant_ints",
    "constant_tensor",
    "constant_value",
    "describe",
    "inherit",
    "input_of",
    "is_dead",
    "is_op",
    "is_random",
    "operand",
    "origin_of",
    "rank",
    "regions",
    "same_dim",
    "same_shape",
    "set_origin",
    "sole_user",
    "static_shape",
    "subgraphs_of",
    "use_count",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Match(Generic[T]):
    """A place where a rule applies.

    Args:
        nodes: The nodes it covers, root first. The driver removes those that are dead after the rewrite.
        found: What the rule's rewrite needs to know: operands, attributes, new weights.
        note: One line for people, kept in the trace.
    """

    nodes: tuple[ir.Node, ...]
    found: T
    note: str = ""


class Rule(ABC, Generic[T]):
    """One rewrite. Subclasses are frozen dataclasses; their fields are options.

    Attributes:
        name: For the trace.
        roots: Op types of the root; ``"Add"`` is the standard domain, ``("com.microsoft", "X")`` another.
    """

    name: ClassVar[str]
    roots: ClassVar[tuple[str | tuple[str, str], ...]]

    @abstractmethod
    def match(self, node: ir.Node, edit: Editor) -> Match[T] | Refusal | None:
        """Decide, without changing anything, whether the rule applies at ``node``.

        ``edit.ctx`` holds limits, evaluator and cost; ``edit.opset`` is the model's opset.
        """

    @abstractmethod
    def rewrite(self, match: Match[T], edit: Editor) -> ir.Node | None:
        """Make the change; returns the node that took the place of the root, for the trace."""


@dataclass
class _Worklist:
    """Nodes to look at, each queued once at a time."""

    queue: deque[ir.Node] = field(default_factory=deque)
    queued: set[ir.Node] = field(default_factory=set)

    def push(self, node: ir.Node) -> None:
        if node not in self.queued:
            self.queued.add(node)
            self.queue.append(node)

    def pop(self) -> ir.Node:
        node = self.queue.popleft()
        self.queued.discard(node)
        return node


def _index(rules: Sequence[Rule[Any]]) -> dict[tuple[str, str], list[Rule[Any]]]:
    table: dict[tuple[str, str], list[Rule[Any]]] = {}
    for rule in rules:
        for root in rule.roots:
            table.setdefault(("", root) if isinstance(root, str) else root, []).append(rule)
    return table


class _Run:
    """One application of a set of rules to a model."""

    def __init__(self, model: ir.Model, rules: Sequence[Rule[Any]], ctx: PassContext) -> None:
        self.model = model
        self.ctx = ctx
        self.table = _index(rules)
        self.edit = Editor(model, ctx)
        self.refusals: dict[tuple[str, ir.Node], Refusal] = {}
        self.rewrites = 0

    def round(self) -> bool:
        """One walk over all regions plus what the rewrites touched; whether anything changed."""
        work = _Worklist()
        for graph in regions(self.model):
            for node in graph:
                if (node.domain, node.op_type) in self.table:
                    work.push(node)
        # A rule set that undoes its own work would run forever; a sound one needs a few steps per node.
        budget = 20 * len(work.queue) + 1000
        before = self.rewrites
        steps = 0
        while work.queue and self.ctx.may_rewrite():
            steps += 1
            if steps % 256 == 0:
                self.ctx.check_time(f"pass {self.ctx.record.name}")
            node = work.pop()
            if node.graph is None or not self._visit(node):
                continue
            if self.rewrites - before > budget:
                raise PassError(
                    f"rules of {self.ctx.record.name} do not come to an end",
                    where=describe(node),
                    why=f"{self.rewrites - before} rewrites in one walk",
                )
            self._requeue(work, node)
        return self.rewrites > before

    def _requeue(self, work: _Worklist, root: ir.Node) -> None:
        for touched in [root, *self.edit.touched]:
            if touched.graph is not None and (touched.domain, touched.op_type) in self.table:
                work.push(touched)
        self.edit.touched.clear()

    def _visit(self, node: ir.Node) -> bool:
        """Try the rules of a node's op in order; whether one of them rewrote it."""
        for rule in self.table.get((node.domain, node.op_type), ()):
            try:
                answer = rule.match(node, self.edit)
                if isinstance(answer, Match):
                    self._rewrite(rule, answer)
            except AccelcError:
                raise
            except Exception as error:
                raise PassError(
                    f"rule {rule.name} failed", where=describe(node), why=f"{type(error).__name__}: {error}"
                ) from error
            if isinstance(answer, Match):
                self.refusals.pop((rule.name, node), None)
                return True
            if answer is None:
                self.refusals.pop((rule.name, node), None)
            else:
                self.refusals[(rule.name, node)] = answer
        return False

    def _rewrite(self, rule: Rule[Any], match: Match[Any]) -> None:
        root = match.nodes[0]
        root_name = node_name(root)
        self.edit.created.clear()
        result = rule.rewrite(match, self.edit)
        self.edit.sweep(match.nodes)
        if root.graph is None:
            self.edit.settle(root_name)
        self.rewrites += 1
        self.ctx.rewrote(rule.name, match.nodes, result, match.note)

    def report_refusals(self) -> None:
        for (rule_name, node), refusal in self.refusals.items():
            if node.graph is not None:
                self.ctx.refused(refusal, rule_name, node)


def apply_rules(
    model: ir.Model, rules: Sequence[Rule[Any]], ctx: PassContext, *, max_rounds: int = 8
) -> bool:
    """Apply rules everywhere until none matches: main graph and subgraphs, not function bodies.

    Rules of the same root are tried in the order given. Each rewrite counts against ``ctx.max_rewrites`` and
    goes to the trace; refusals that still stand at the end go there too, once per rule and node.

    Args:
        model: Changed in place.
        rules: What to apply.
        ctx: Trace, limits, budget.
        max_rounds: Walks over the whole model; the second and later ones only run if the one before changed
            something, and catch matches that no touched node led to.

    Returns:
        Whether the model changed.

    Raises:
        PassError: A rule failed, or the rules do not come to an end.
        LimitError: ``ctx.deadline`` passed.
    """
    run = _Run(model, rules, ctx)
    for _ in range(max_rounds):
        if not run.round():
            break
    run.report_refusals()
    return run.rewrites > 0


class RulePass(Pass):
    """A pass that is a set of rules; subclasses say which."""

    @abstractmethod
    def rules(self) -> Sequence[Rule[Any]]:
        """The rules, in the order in which they are tried on a node."""

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Apply the rules until none matches."""
        return PassResult(model, apply_rules(model, self.rules(), ctx))
