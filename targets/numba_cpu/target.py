"""Target ``cpu``: lowering, loading, and what it tells passes and people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import onnx_ir as ir

from accelc.errors import ArtifactError, FallbackError, UnsupportedError
from accelc.plan.memory_map import MemoryMap
from accelc.target import Executable, MemoryCost, Support, Target, TargetOptions
from accelc.targets.numba_cpu.isa import Isa


class NumbaCpu(Target):
    """Generated Numba kernels on this machine's CPU."""

    name: ClassVar[str] = "cpu"
    aliases: ClassVar[tuple[str, ...]] = ("numba_cpu",)
    plans_memory: ClassVar[bool] = True

    def lower(self, model: ir.Model, options: TargetOptions) -> Executable:
        """Lower a model; see Target.lower.

        Raises:
            FallbackError: ``strict``, and an op has no kernel.
            LoweringError: A node can neither be compiled nor run on the reference.
        """
        from accelc.targets.numba_cpu.executable import CpuExecutable
        from accelc.targets.numba_cpu.improve import improve, improve_within
        from accelc.targets.numba_cpu.kernel_store import KernelStore
        from accelc.targets.numba_cpu.lower.graph import lower_graph
        from accelc.targets.numba_cpu.lower.tables import table

        if options.precision != "f32":
            raise UnsupportedError(
                f"target 'cpu' has no precision {options.precision!r}", fix="leave --precision at f32"
            )
        isa = Isa.host(options.vector_bits)
        lowered = lower_graph(model.clone(), table(), isa)
        if options.strict and lowered.fallbacks:
            raise FallbackError(
                f"{len(lowered.fallbacks)} node(s) have no kernel on target 'cpu'",
                where=[f"node {name} ({op}): {reason}" for name, op, reason in lowered.fallbacks[:20]],
                fix="compile without --strict to run them on the reference",
            )
        threads = max(1, options.threads)
        program, cost = lowered.program, None
        if options.mem_limit is None:
            improve(program, isa, threads)
        else:
            program, cost = improve_within(program, isa, threads, options.mem_limit)
        store = KernelStore(options.cache_dir, isa, options.progress)
        return CpuExecutable(program, isa, store, options, cost)

    def load(self, folder: Path, manifest: Mapping[str, Any], options: TargetOptions) -> Executable:
        """Load an artifact; kernels that this machine's cache lacks are compiled again."""
        from accelc.targets.numba_cpu.executable import CpuExecutable
        from accelc.targets.numba_cpu.kernel_store import KernelStore
        from accelc.targets.numba_cpu.saved import read

        payload = manifest["payload"]
        bits = payload.get("vector_bits")
        isa = Isa.host(bits if bits in (128, 256, 512) else None)
        if payload.get("cpu") != isa.key:
            raise ArtifactError(
                "the artifact was made for another CPU",
                where=str(folder),
                why=f"made for {payload.get('cpu')!r}, this machine is {isa.key!r}",
                fix="compile the model again on this machine",
            )
        program = read(folder)
        store = KernelStore(options.cache_dir, isa, options.progress)
        return CpuExecutable(program, isa, store, options, _cost(payload.get("memory_limit")))

    def plan_memory(
        self, folder: Path, manifest: Mapping[str, Any], dims: Mapping[str, int]
    ) -> MemoryMap | None:
        """The memory plan of an artifact; see Target.plan_memory."""
        from accelc.targets.numba_cpu.memory_map import memory_map, plan_regions
        from accelc.targets.numba_cpu.saved import read

        payload = manifest["payload"]
        bits = payload.get("vector_bits")
        isa = Isa.host(bits if bits in (128, 256, 512) else None)
        program = read(folder)
        threads = payload.get("threads", 1)
        return memory_map(program, plan_regions(program, isa, dims, max(1, int(threads))), dims)

    def ops(self) -> Sequence[Support]:
        """Ops with a kernel, those whose bodies are compiled, and those that run on the host."""
        from accelc.targets.host_ops.support import host_support
        from accelc.targets.numba_cpu.body_run import OPS
        from accelc.targets.numba_cpu.lower.tables import table

        rows = [Support(domain, op, since, ()) for domain, op, since in table()]
        rows += [Support("", op, 1, (), "its bodies are compiled") for op in OPS]
        rows += [Support("", op, 1, (), "known before running") for op in ("Constant", "Shape", "Size")]
        return [*rows, *host_support({(row.domain, row.op) for row in rows})]

    def doctor(self) -> Mapping[str, str]:
        """The CPU as kernels see it."""
        isa = Isa.host()
        return {"cpu": isa.cpu, "vector width": f"{isa.vector_bits} bits", "kernel key": isa.key}


def _cost(stored: Any) -> MemoryCost | None:
    """What an artifact says of its memory limit.

    Raises:
        ArtifactError: It is not of the form that is written.
    """
    if stored is None:
        return None
    try:
        return MemoryCost(**{name: int(number) for name, number in stored.items()})
    except (AttributeError, TypeError, ValueError) as error:
        raise ArtifactError("the artifact is damaged", why=f"its memory limit: {error}") from error
