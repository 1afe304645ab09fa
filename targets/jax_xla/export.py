"""StableHLO of compiled functions, for platforms that need not be here; for any size where the model has free dims."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import onnx_ir as ir

from accelc.errors import ArtifactError, LoweringError
from accelc.ir.shapes import dims_of
from accelc.targets.jax_xla.locations import without_locations
from accelc.targets.jax_xla.trace import RefusedNode

if TYPE_CHECKING:
    from accelc.targets.jax_xla.compiled_step import CompiledStep


_CALLS = re.compile(r'custom_call @"?([^\s"(]+)|call_target_name = "([^"]*)"')
_OWN_CALLS = re.compile(
    r"(lapack|cusolver|cusparse|hipsolver|cu|hip)_\w+|(stablehlo|mhlo|chlo)\.\S+|shape_assertion|Sharding|SPMD\w+"
    r"|ApproxTopK|Eigh|Qr|LuDecomposition|ProductOfElementaryHouseholderReflectors|AllocateBuffer"
)
"""Calls out of StableHLO that exports make: linear algebra, random bits, checks of sizes. None runs Python."""


@dataclass(frozen=True)
class Form:
    """A compiled function for one set of shapes, or for all.

    Args:
        symbolic: Whether dims among ``takes`` are symbols that stand for any size.
        takes: dtype and dims of each input.
        statics: Known values it was made for.
        known: Values that follow while tracing.
        programs: Serialised StableHLO by platform; its first argument are the prepared weights.
        prepares: Serialised StableHLO by platform of what prepares them from the model's weights, once.
    """

    symbolic: bool
    takes: tuple[tuple[Any, tuple[Any, ...]], ...]
    statics: tuple[np.ndarray, ...]
    known: tuple[np.ndarray, ...]
    programs: Mapping[str, bytes]
    prepares: Mapping[str, bytes]


def export_step(step: CompiledStep, platforms: Sequence[str]) -> tuple[Form, ...]:
    """All forms of a step: one for any size where that can be, else one for each set of shapes it was called with.

    Args:
        step: A step of a program.
        platforms: What to make StableHLO for.
    """
    specs = declared_specs(step.step.inputs)
    free = specs is not None and not _is_fixed(specs)
    if specs is not None and free and not step.step.statics and not step.step.static_outputs:
        try:
            return (_export(step, specs, {}, platforms, symbolic=True),)
        except (RefusedNode, LoweringError):
            pass  # something depends on a size: the shapes seen are what there is
        except (TypeError, ValueError):
            pass  # likewise, where JAX itself notices
    if specs is not None and not free and not step.entries and not step.step.statics:
        return (_export(step, specs, {}, platforms, symbolic=False),)
    return tuple(
        _export(step, entry.inputs, entry.statics, platforms, symbolic=False)
        for entry in step.entries.values()
    )


def declared_specs(inputs: Sequence[ir.Value]) -> list[jax.ShapeDtypeStruct] | None:
    """Shapes as the model has them, with its symbols as dims; None if a rank or dtype is not known."""
    scope = jax.export.SymbolicScope()
    names: dict[str, str] = {}
    specs = []
    for value in inputs:
        dims = dims_of(value)
        if dims is None or value.dtype is None:
            return None
        shape = [
            dim if isinstance(dim, int) else _symbol(dim or f"{value.name}[{axis}]", names, scope)
            for axis, dim in enumerate(dims)
        ]
        specs.append(jax.ShapeDtypeStruct(tuple(shape), value.dtype.numpy()))
    return specs


def _is_fixed(specs: Sequence[jax.ShapeDtypeStruct]) -> bool:
    return all(isinstance(dim, int) for spec in specs for dim in spec.shape)


def _symbol(text: str, names: dict[str, str], scope: jax.export.SymbolicScope) -> Any:
    """A dim of ``jax.export``: an expression as it reads it, else a symbol of its own for equal text."""
    if text not in names:
        try:
            jax.export.symbolic_shape(text, scope=scope)
            names[text] = text
        except (ValueError, TypeError):
            names[text] = f"accelc_{len(names)}"
    return jax.export.symbolic_shape(names[text], scope=scope)[0]


def _export(
    step: CompiledStep,
    inputs: Sequence[Any],
    statics: Mapping[ir.Value, np.ndarray],
    platforms: Sequence[str],
    *,
    symbolic: bool,
) -> Form:
    programs, prepares = {}, {}
    known: Mapping[ir.Value, np.ndarray] = {}
    for platform in platforms:
        weights, *others = step.specs(inputs)
        parts, known = replace_platform(step, platform).parts(inputs, statics)
        main = jax.export.export(jax.jit(parts.main), platforms=[platform])
        programs[platform] = bytes(without_locations(main(parts.shapes(), *others)).serialize())
        prepare = jax.export.export(jax.jit(parts.prepare), platforms=[platform])
        prepares[platform] = bytes(without_locations(prepare(weights)).serialize())
    takes = tuple((x.dtype, tuple(x.shape)) for x in inputs)
    return Form(symbolic, takes, tuple(statics.values()), tuple(known.values()), programs, prepares)


def stored_program(content: bytes) -> jax.export.Exported | None:
    """A program from an artifact; None if this version of JAX cannot read it.

    Raises:
        ArtifactError: It calls something that no export of ours calls, such as a function of this process.
    """
    try:
        program = jax.export.deserialize(bytearray(content))
        text = str(program.mlir_module())
    except Exception:  # flatbuffers and MLIR raise many classes
        return None
    calls = {found[1] or found[2] for found in _CALLS.finditer(text)}
    strange = sorted(call for call in calls if not _OWN_CALLS.fullmatch(call))
    if strange:
        raise ArtifactError(
            "the artifact holds a program that was not made by accelc",
            why=f"it calls {strange[0]!r}",
            fix="compile the model again",
        )
    return program


def replace_platform(step: CompiledStep, platform: str) -> CompiledStep:
    """The step as it is lowered for another platform."""
    from accelc.targets.jax_xla.compiled_step import CompiledStep

    return CompiledStep(step.step, step.program, step.weights, replace(step.settings, platform=platform))
