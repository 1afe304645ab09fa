"""Targets ``xla``, ``gpu`` and ``tpu``: lowering, loading, and what they tell passes and people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import onnx_ir as ir

from accelc.errors import UsageError
from accelc.ir.cost import inlined
from accelc.target import Executable, Support, Target, TargetOptions
from accelc.targets.jax_xla import runtime

if TYPE_CHECKING:
    from accelc.targets.jax_xla.compiled_step import Settings
    from accelc.targets.jax_xla.functional import JaxFunction

PRECISIONS = ("f32", "tf32", "bf16", "f16")


class Xla(Target):
    """JAX and XLA on the best device at hand: a GPU or TPU if there is one, else the CPU."""

    name: ClassVar[str] = "xla"
    aliases: ClassVar[tuple[str, ...]] = ("jax", "jax_xla")
    kind: ClassVar[str] = "any"

    def lower(self, model: ir.Model, options: TargetOptions) -> Executable:
        """Lower a model; see Target.lower.

        Raises:
            UnsupportedError: JAX is not installed, or the device is not there.
            LoweringError: A node can neither be compiled nor run on the host.
            FallbackError: ``strict``, and an op has no lowering.
        """
        settings = self._settings(options)
        from accelc.targets.jax_xla.executable import XlaExecutable

        return XlaExecutable(
            inlined(model),
            settings,
            target_name=self.name,
            strict=options.strict,
            threads=options.threads,
        )

    def load(self, folder: Path, manifest: Mapping[str, Any], options: TargetOptions) -> Executable:
        """Load an artifact: its StableHLO is compiled for the device at hand."""
        settings = self._settings(options)
        from accelc.targets.jax_xla.saved import read

        return read(folder, manifest, settings, self.name, options.threads)

    def function(self, model: ir.Model, options: TargetOptions) -> JaxFunction:
        """The model as a pure JAX function of weights and inputs.

        Raises:
            UnsupportedError: JAX is not installed, part of it runs on the host, or inputs decide shapes.
        """
        settings = self._settings(options)
        from accelc.targets.jax_xla.functional import JaxFunction

        return JaxFunction(model, settings)

    def _settings(self, options: TargetOptions) -> Settings:
        if options.precision not in PRECISIONS:
            raise UsageError(
                f"target '{self.name}' has no precision {options.precision!r}",
                fix=f"use one of {', '.join(PRECISIONS)}",
            )
        runtime.prepare(options.threads)
        device = runtime.device_for(self.kind)
        from accelc.targets.jax_xla.compiled_step import Settings
        from accelc.targets.jax_xla.tables import table

        platform = runtime.platform_of(device)
        return Settings(table(), device, platform, options.precision, runtime.threads_held())

    def ops(self) -> Sequence[Support]:
        """Ops with a lowering, those of control flow included."""
        runtime.prepare()
        from accelc.targets.host_ops.support import host_support
        from accelc.targets.jax_xla.control import LOWERINGS
        from accelc.targets.jax_xla.tables import table

        rows = [Support(domain, op, since, ()) for domain, op, since in table()]
        rows += [Support("", op, 1, (), "known while tracing") for op in ("Constant", "Shape", "Size")]
        control = "as lax control flow, or its bodies compiled in turn"
        rows += [Support("", op, 1, (), control) for op in LOWERINGS]
        return [*rows, *host_support({(row.domain, row.op) for row in rows})]

    def doctor(self) -> Mapping[str, str]:
        """Versions and devices."""
        runtime.prepare()
        from importlib.metadata import version

        import jax

        device = runtime.device_for(self.kind)
        return {
            "jax": f"{jax.__version__}, jaxlib {version('jaxlib')}",
            "devices": ", ".join(f"{each} ({each.device_kind})" for each in jax.devices()),
            "runs on": f"{device} ({runtime.platform_of(device)})",
            "exports for": ", ".join(runtime.PLATFORMS),
        }


class XlaGpu(Xla):
    """JAX and XLA on an NVIDIA or AMD GPU."""

    name: ClassVar[str] = "gpu"
    aliases: ClassVar[tuple[str, ...]] = ("cuda", "rocm")
    kind: ClassVar[str] = "gpu"


class XlaTpu(Xla):
    """JAX and XLA on a TPU."""

    name: ClassVar[str] = "tpu"
    aliases: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[str] = "tpu"
