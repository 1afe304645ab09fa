"""StableHLO without the source files it came from: the same model gives the same bytes on every machine."""

from __future__ import annotations

from dataclasses import replace

import jax.export
from jax.interpreters.mlir import make_ir_context
from jaxlib.mlir.dialects import stablehlo
from jaxlib.mlir.passmanager import PassManager


def without_locations(program: jax.export.Exported) -> jax.export.Exported:
    """The program with every source location unknown.

    JAX's own setting for this (``jax_hlo_source_file_canonicalization_regex``) does not reach functions that JAX
    traced before and kept, so the locations are stripped from what was serialised. The StableHLO version stays
    the one that JAX chooses: readable by versions of the last four weeks.
    """
    with make_ir_context() as context:
        module = stablehlo.deserialize_portable_artifact(context, program.mlir_module_serialized)
        PassManager.parse("builtin.module(strip-debuginfo)").run(module.operation)
        version = stablehlo.get_version_from_compatibility_requirement(
            stablehlo.StablehloCompatibilityRequirement.WEEK_4
        )
        content = stablehlo.serialize_portable_artifact(module, version)
    return replace(program, mlir_module_serialized=bytes(content))
