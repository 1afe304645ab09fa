"""What a pass is: a frozen value with a name that maps a valid ONNX model to a valid ONNX model."""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import onnx_ir as ir

from accelc.errors import LimitError


@dataclass(frozen=True)
class Rewrite:
    """One change a pass made, for the trace.

    Args:
        rule: Which rule of the pass.
        nodes: Names of the nodes it replaced.
        result: Name of the node that took their place, empty if they just went.
        note: One line for people.
    """

    rule: str
    nodes: tuple[str, ...]
    result: str = ""
    note: str = ""


@dataclass(frozen=True)
class Refusal:
    """A rewrite that was considered and not made, and why.

    Args:
        why: The reason, with expected and found values.
        at: The value or node the reason is about.
        rule: Filled in by the driver.
        node: Name of the matched root node, filled in by the driver.
    """

    why: str
    at: ir.Value | ir.Node | None = None
    rule: str = ""
    node: str = ""


@dataclass
class PassRecord:
    """What one pass did: printed by ``--timing``, kept in the trace and the report."""

    name: str
    ms: float = 0.0
    nodes_before: int = 0
    nodes_after: int = 0
    rewrites: list[Rewrite] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


@dataclass
class Trace:
    """Records of all passes, in order; ``trace["fuse"]`` finds the last record of that name."""

    records: list[PassRecord] = field(default_factory=list)

    def __getitem__(self, name: str) -> PassRecord:
        """The latest record of the pass called ``name`` (parameters in braces may be left out)."""
        for record in reversed(self.records):
            if record.name == name or record.name.split("{")[0] == name:
                return record
        raise KeyError(name)


@dataclass(frozen=True)
class Limits:
    """Bounds on what a model may make the compiler do; sizes in bytes.

    The defaults let every real model through and stop a hostile one in seconds.
    """

    max_fold_bytes: int = 1 << 20
    """A folded constant may not be larger than this unless the fold shrinks the model."""
    max_fold_seconds: float = 10.0
    max_nodes: int = 1_000_000
    max_function_nodes: int = 200_000
    """Nodes after inlining all model-local functions."""
    max_nesting: int = 32
    """Depth of subgraphs and of function calls."""
    max_model_bytes: int = 1 << 40
    max_dense_bytes: int = 1 << 28
    """Sparse tensors made dense, and external data read into attributes."""


class Evaluator(Protocol):
    """Runs one node on constants (see accelc.reference); raises UnsupportedError if it cannot."""

    def __call__(self, node: ir.Node, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """Return the node's outputs."""


class TargetCost(Protocol):
    """A target's answer to what a pass wants to know before it chooses."""

    def can_fuse(self, anchor: ir.Node, epilogue: ir.Node) -> Refusal | None:
        """None if ``epilogue`` can run inside the kernel of ``anchor``."""


@dataclass
class PassContext:
    """What passes share during one compile.

    The rewrite budget is the bisect hook: after ``max_rewrites`` rewrites no pass changes anything more,
    so that a binary search over it finds the rewrite that broke a model.
    """

    trace: Trace = field(default_factory=Trace)
    limits: Limits = field(default_factory=Limits)
    evaluator: Evaluator | None = None
    cost: TargetCost | None = None
    calibration: Sequence[Mapping[str, np.ndarray]] = ()
    max_rewrites: int | None = None
    rewrites_done: int = 0
    deadline: float | None = None
    record: PassRecord = field(default_factory=lambda: PassRecord("(no pass)"))
    progress: Callable[[str], None] | None = None

    def may_rewrite(self) -> bool:
        """Whether the bisect budget allows one more rewrite."""
        return self.max_rewrites is None or self.rewrites_done < self.max_rewrites

    def rewrote(
        self, rule: str, nodes: Sequence[ir.Node], result: ir.Node | None = None, note: str = ""
    ) -> None:
        """Record one rewrite; call it for every change made."""
        self.rewrites_done += 1
        names = tuple(node_name(node) for node in nodes)
        self.record.rewrites.append(
            Rewrite(rule, names, node_name(result) if result is not None else "", note)
        )

    def refused(self, refusal: Refusal, rule: str, node: ir.Node) -> None:
        """Record why a rewrite was not made."""
        self.record.refusals.append(dataclasses.replace(refusal, rule=rule, node=node_name(node)))

    def check_time(self, what: str) -> None:
        """Raise LimitError once the compile's time budget is spent."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise LimitError(
                f"{what} ran out of time", fix="raise the time limit, or leave passes out with --passes=-NAME"
            )


@dataclass(frozen=True)
class PassResult:
    """The model after a pass, and whether anything changed (the truth: tests compare the text)."""

    model: ir.Model
    modified: bool


class Pass(ABC):
    """Base of all passes; subclasses are frozen dataclasses whose fields are their options."""

    name: ClassVar[str]
    lossy: ClassVar[bool] = False

    @abstractmethod
    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Rewrite ``model`` in place and return it; it must be valid ONNX before and after."""

    def __str__(self) -> str:
        """The name with its options that differ from the default: ``prune-n-m{n=2,m=4}``."""
        if not dataclasses.is_dataclass(self):
            return self.name
        options = [
            f"{f.name}={getattr(self, f.name)}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != (f.default_factory() if callable(f.default_factory) else f.default)
        ]
        return f"{self.name}{{{','.join(options)}}}" if options else self.name


@dataclass(frozen=True)
class IrPass(Pass):
    """Any ``onnx_ir.passes`` pass as one of ours: ``IrPass("sort", onnx_ir.passes.common.TopologicalSortPass())``."""

    label: str
    inner: ir.passes.PassBase

    name: ClassVar[str] = "onnx-ir"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Run the wrapped pass."""
        if not ctx.may_rewrite():
            return PassResult(model, False)
        result = self.inner(model)
        if result.modified:
            ctx.rewrites_done += 1
            ctx.record.rewrites.append(Rewrite(self.label, ()))
        return PassResult(result.model, bool(result.modified))

    def __str__(self) -> str:
        """The label given to the wrapped pass."""
        return self.label


def node_name(node: ir.Node) -> str:
    """A name for people: the node's own, else its first output's."""
    if node.name:
        return node.name
    return next((str(out.name) for out in node.outputs if out.name), node.op_type)


def count_nodes(model: ir.Model) -> int:
    """Nodes of the main graph and its subgraphs; function bodies are kernels and do not count."""
    return sum(1 for node in ir.traversal.RecursiveGraphIterator(model.graph))
