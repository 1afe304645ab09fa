"""What a target is: it lowers an optimised graph to something that runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.pass_base import TargetCost, Trace
from accelc.pipeline import Pipeline
from accelc.plan.memory_map import MemoryMap


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype and shape of a model input or output; a dim is an int, a name, or None if unknown."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class TargetOptions:
    """Options of one compile that a target reads.

    Args:
        threads: Threads that one call may use.
        precision: ``f32`` (``tf32``, ``bf16`` and ``f16`` where the target has them).
        strict: An op without a kernel is an error (FallbackError) instead of a listed fallback.
        cache_dir: Folder of compiled kernels; None is the user's cache (``$ACCELC_CACHE_DIR`` moves it).
        vector_bits: SIMD width for CPU kernels; None picks the machine's widest.
        keep_functions: A target that emits a model leaves fused kernels in it, as calls of local functions.
        mem_limit: Bytes that the arena of a call may take; None for no limit.
        sanitize: Watch every step for writes outside its results and reads of dead memory (slow; for debugging).
        shots: Target ``quantum``: measurements drawn for each input; 0 reads the state. None is 0, or for an
            artifact what it was compiled with.
        seed: Of drawn measurements and of searches for circuits.
        encoding_error: Relative error allowed to each circuit's matrix.
        encoding_seconds: Time allowed to the search for each layer's circuits.
        progress: Called with what is being worked on: (what, done, total).
    """

    threads: int = 1
    precision: str = "f32"
    strict: bool = False
    cache_dir: Path | None = None
    vector_bits: int | None = None
    keep_functions: bool = False
    mem_limit: int | None = None
    sanitize: bool = False
    shots: int | None = None
    seed: int = 0
    encoding_error: float = 1e-9
    encoding_seconds: float = 30.0
    progress: Callable[[str, int, int], None] | None = None


@dataclass(frozen=True)
class MemoryCost:
    """What a memory limit costs.

    Args:
        limit_bytes: The limit.
        unlimited_bytes: The arena without it.
        recomputed_calls: Kernel calls that it adds.
        recomputed_flops: Operations that it adds.
    """

    limit_bytes: int
    unlimited_bytes: int
    recomputed_calls: int = 0
    recomputed_flops: int = 0


@dataclass(frozen=True)
class MemorySummary:
    """Memory of one call, in bytes; ``limit`` is what ``mem_limit`` cost, if one was given."""

    peak_bytes: int
    lower_bound_bytes: int
    weight_bytes: int
    limit: MemoryCost | None = None


@dataclass(frozen=True)
class Verification:
    """The verdict of comparing an executable with the reference.

    ``max_rel_error`` is max|a-b| / max|reference| over outputs and input sets; ``bound`` is what it must not
    exceed. ``reason`` says why when ``status`` is ``not verified`` or ``failed``, and what the bound was widened for.
    """

    status: str  # "verified" | "failed" | "not verified" | "off"
    max_rel_error: float = 0.0
    bound: float = 0.0
    input_sets: int = 0
    reason: str = ""
    outputs: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class StepTime:
    """One step of a compiled model and how long it takes.

    Args:
        kernel: What runs: a kernel family, or ``host OP``.
        origin: Nodes of the user's model that it stands for.
        ms: Its time; None if it was not measured on its own.
        facts: What else is known, for people: the kernel's parameters, the reason for a host call.
    """

    kernel: str
    origin: tuple[str, ...]
    ms: float | None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Executable(ABC):
    """A compiled model: NumPy in, NumPy out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    target_name: str
    trace: Trace = Trace()
    verification: Verification = Verification("off")
    summary: Mapping[str, Any]
    fallbacks: tuple[str, ...] = ()
    emitted: ir.Model | None = None
    """The model that a target made instead of a program; verification runs it in onnxruntime."""
    tolerance: float = 2e-5
    """Allowed error as a share of max|output|; 1e-4 for a program with Winograd kernels."""
    model: ir.Model | None = None
    """The optimised graph; set by the driver after lowering."""
    artifact: Path | None = None
    """The folder it was loaded from."""
    info: CompileInfo | None = None
    """What the driver knows about the compile, for the manifest."""

    @abstractmethod
    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once, in onnxruntime's form: a list of outputs in order.

        Raises CallError naming the input, what was expected and what was given.
        """

    def run_exactly(self, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once as verification does: without the chance that measurements would bring."""
        return self.run(None, feeds)

    def __call__(self, **feeds: Any) -> Any:
        """Run once; one output comes back as an array, several as a tuple in order."""
        results = self.run(None, feeds)
        return results[0] if len(results) == 1 else tuple(results)

    def call_facts(self) -> dict[str, Any]:
        """What there is to tell of the last call; ``notes`` are lines for people. Empty if nothing is."""
        return {}

    @property
    @abstractmethod
    def memory_plan(self) -> MemorySummary:
        """Memory of the last planned shapes (the declared shapes before the first call)."""

    @property
    def device_peak_bytes(self) -> int | None:
        """Most bytes in use so far on the device it runs on; None where the device does not tell."""
        return None

    def memory_map(self) -> MemoryMap | None:
        """What lies where in the arena for the shapes planned last; None if the target cannot tell."""
        return None

    def step_times(self, feeds: Mapping[str, Any], rounds: int = 5) -> list[StepTime]:
        """Steps in order, each timed on its own; empty if the target cannot tell."""
        return []

    @abstractmethod
    def payload(self, folder: Path) -> dict[str, Any]:
        """Write the target's files into ``folder``; return its JSON-able part of the manifest.

        The part comes back to ``Target.load`` as ``manifest["payload"]``. Two keys have a meaning for the
        artifact: ``"cpu"`` (what the files were made for, shown to people) and ``"weights"``, a dict from
        initializer name to ``[file, offset, nbytes]`` (or None if stored in another layout than row-major),
        which keeps ``model.onnx`` from storing those weights again.
        """

    def save(self, path: str | Path) -> Path:
        """Save as an artifact folder (see accelc.artifact); nothing is half-written.

        An emitted model goes to one .onnx file for other runtimes if that is what ``path`` names.
        """
        from accelc.artifact import save
        from accelc.model_file import is_model_file, write_model

        if self.emitted is not None and is_model_file(Path(path)):
            return write_model(self.emitted, Path(path))[0]
        return save(self, Path(path))


@dataclass(frozen=True)
class Support:
    """One row of a target's tables, for ``accelc ops --target T``.

    Args:
        domain: The op's domain; empty for ONNX's own.
        op: Its name.
        since: First opset version that the row holds for.
        dtypes: Dtypes it takes; empty if the table does not say.
        note: One line for people.
        way: How it runs: ``compiled``, ``emitted``, ``host``, or ``fallback`` for a slow reference.
    """

    domain: str
    op: str
    since: int
    dtypes: tuple[str, ...]
    note: str = ""
    way: str = "compiled"


class Target(ABC):
    """A way to run models. Targets hold no state: options come with each call."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    plans_memory: ClassVar[bool] = False
    """Whether it plans an arena: ``mem_limit`` and ``sanitize`` are for such targets."""
    measures: ClassVar[bool] = False
    """Whether results may be drawn as counts of measurements: ``shots`` is for such targets."""
    emits: ClassVar[bool] = False
    """Whether executables hold an ``emitted`` model, which ``save`` can write as one .onnx file."""

    @abstractmethod
    def lower(self, model: ir.Model, options: TargetOptions) -> Executable:
        """Lower an optimised model; lists every unsupported op at once (LoweringError)."""

    @abstractmethod
    def load(self, folder: Path, manifest: Mapping[str, Any], options: TargetOptions) -> Executable:
        """Load what Executable.payload wrote. Never executes or unpickles anything in ``folder``.

        Args:
            folder: The artifact.
            manifest: The whole checked manifest; ``manifest["payload"]`` is what ``payload`` returned.
            options: As for ``lower``.

        Raises:
            ArtifactError: The files do not fit together, or were made for another machine.
        """

    def plan_memory(
        self, folder: Path, manifest: Mapping[str, Any], dims: Mapping[str, int]
    ) -> MemoryMap | None:
        """The memory plan of an artifact for given sizes of its free dims, without loading kernels.

        Raises:
            CallError: A size is missing, or shapes do not fit.
        """
        return None

    def pipeline(self, level: int, options: TargetOptions) -> Pipeline:
        """The passes of ``-O<level>`` for this target, unless the user says which.

        Raises:
            UsageError: There is no such level.
        """
        return Pipeline.default(level)

    def cost(self) -> TargetCost | None:
        """What this target tells passes; None if it has no opinion."""
        return None

    def ops(self) -> Sequence[Support]:
        """The support matrix, read from the lowering tables themselves."""
        return ()

    def doctor(self) -> Mapping[str, str]:
        """Facts about this machine that matter to the target (CPU features, devices, versions)."""
        return {}


@dataclass
class CompileInfo:
    """What the driver knows about one compile, for the summary and the manifest."""

    model_name: str = ""
    model_sha256: str = ""
    passes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
