"""Sessions with onnxruntime's interface, so that programs written for it run on accelc.

Change ``import onnxruntime as ort`` to ``import accelc.session as ort``, or only the one call to
``accelc.InferenceSession``: onnxruntime's own SessionOptions are understood too.
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from accelc.errors import UsageError
from accelc.machine import usable_cpus
from accelc.session_binding import IOBinding
from accelc.target import Executable, TensorSpec

CPU_PROVIDER = "CPUExecutionProvider"
_METADATA_OF_TOOLS = ("accelc.", "pkg.")
_ORT_ONLY = frozenset({"disabled_optimizers", "enable_fallback", "read_config_from_model"})
_TYPE_NAMES = {
    "float32": "float",
    "float64": "double",
    "object": "string",
    "float8_e4m3fn": "float8e4m3fn",
    "float8_e4m3fnuz": "float8e4m3fnuz",
    "float8_e5m2": "float8e5m2",
    "float8_e5m2fnuz": "float8e5m2fnuz",
    "float4_e2m1fn": "float4e2m1",
}

Providers = Sequence[str | tuple[str, Mapping[str, Any]]]


class GraphOptimizationLevel(enum.IntEnum):
    """onnxruntime's names for how much to optimise; they map to -O0, -O1, -O2, -O2."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


@dataclass
class SessionOptions:
    """The options that mean something here; any other attribute may be set and is ignored.

    Args:
        intra_op_num_threads: Threads of one call; 0 takes all CPUs this process may use.
        graph_optimization_level: How much to optimise the graph.
        optimized_model_filepath: If set, the optimised model is written there.
    """

    intra_op_num_threads: int = 0
    graph_optimization_level: int = GraphOptimizationLevel.ORT_ENABLE_ALL
    optimized_model_filepath: str = ""
    free_dimensions: dict[str, int] = field(default_factory=dict)
    config_entries: dict[str, str] = field(default_factory=dict)

    def add_free_dimension_override_by_name(self, dim_name: str, dim_value: int) -> None:
        """Bind the symbolic dim ``dim_name`` when the session is made."""
        self.free_dimensions[dim_name] = dim_value

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Keep an entry of onnxruntime's configuration; none of them has an effect here."""
        self.config_entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """An entry given before.

        Raises:
            KeyError: There is none.
        """
        return self.config_entries[key]


@dataclass(frozen=True)
class NodeArg:
    """A model input or output; ``type`` as in ``tensor(float)``, a dim is an int, a name or None."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True)
class ModelMetadata:
    """What the model file says about itself."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = 0
    custom_metadata_map: dict[str, str] = field(default_factory=dict)


class InferenceSession:
    """A compiled model behind the calls of ``onnxruntime.InferenceSession``.

    Args:
        path_or_bytes: A model file, its bytes, or an artifact folder that accelc saved.
        sess_options: This module's SessionOptions or onnxruntime's.
        providers: Accepted; what is not there gives a warning and the CPU is used, as in onnxruntime.
        provider_options: Accepted for the same reason.
        **options: Passed to :func:`accelc.compile`: ``target``, ``dims``, ``cache_dir``... The model is not
            verified unless ``verify`` says so: a swapped session should start as fast as the one before.

    Raises:
        AccelcError: As :func:`accelc.compile` and :func:`accelc.load`.
    """

    def __init__(
        self,
        path_or_bytes: str | PathLike[str] | bytes,
        sess_options: Any = None,
        providers: Providers | None = None,
        provider_options: Sequence[Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        self._options = sess_options if sess_options is not None else SessionOptions()
        self._provider_options: dict[str, dict[str, Any]] = {}
        self.set_providers(providers, provider_options)
        options = {key: value for key, value in options.items() if key not in _ORT_ONLY}
        self._exe = _make(path_or_bytes, self._options, options)
        self._inputs = [_node_arg(spec) for spec in self._exe.inputs]
        self._outputs = [_node_arg(spec) for spec in self._exe.outputs]

    @property
    def executable(self) -> Executable:
        """The compiled model itself: trace, memory plan, verification, save."""
        return self._exe

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: Any = None
    ) -> list[np.ndarray]:
        """Run once; the named outputs in that order, all of them for None or an empty list.

        Raises:
            CallError: An input is missing, unknown, or of another dtype or shape.
        """
        return self._exe.run(output_names or None, input_feed)

    def get_inputs(self) -> list[NodeArg]:
        """The model's inputs in order."""
        return list(self._inputs)

    def get_outputs(self) -> list[NodeArg]:
        """The model's outputs in order."""
        return list(self._outputs)

    def get_overridable_initializers(self) -> list[NodeArg]:
        """None: an initializer is a constant here, even if an old model lists it among its inputs."""
        return []

    def get_modelmeta(self) -> ModelMetadata:
        """Producer, names, version and the model's own metadata."""
        model = self._exe.model
        if model is None and self._exe.artifact is not None:
            from accelc import artifact

            model = artifact.read_model(self._exe.artifact, artifact.read(self._exe.artifact))
        if model is None:
            return ModelMetadata()
        own = {k: v for k, v in model.metadata_props.items() if not k.startswith(_METADATA_OF_TOOLS)}
        return ModelMetadata(
            producer_name=model.producer_name or "",
            graph_name=model.graph.name or "",
            domain=model.domain or "",
            description=model.doc_string or "",
            graph_description=model.graph.doc_string or "",
            version=model.model_version or 0,
            custom_metadata_map=own,
        )

    def get_session_options(self) -> Any:
        """The options the session was made with."""
        return self._options

    def get_providers(self) -> list[str]:
        """The providers in use, under onnxruntime's names."""
        return list(self._provider_options)

    def get_provider_options(self) -> dict[str, dict[str, Any]]:
        """Options by provider."""
        return {name: dict(options) for name, options in self._provider_options.items()}

    def set_providers(
        self, providers: Providers | None = None, provider_options: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Accept a list of providers; the compiled model stays as it is.

        Raises:
            UsageError: As many options as providers are needed, if any.
        """
        given = list(providers or [CPU_PROVIDER])
        if provider_options is not None and len(provider_options) != len(given):
            raise UsageError(
                "providers and provider_options do not match",
                why=f"{len(given)} providers, {len(provider_options)} options",
                fix="give one dict of options per provider, or none at all",
            )
        names = [item if isinstance(item, str) else item[0] for item in given]
        for name in names:
            if name not in get_available_providers():
                warnings.warn(
                    f"{name} is not available here; using {CPU_PROVIDER}", UserWarning, stacklevel=2
                )
        options: Mapping[str, Any] = {}
        if CPU_PROVIDER in names:
            place = names.index(CPU_PROVIDER)
            item = given[place]
            options = (
                provider_options[place] if provider_options else {} if isinstance(item, str) else item[1]
            )
        self._provider_options = {CPU_PROVIDER: dict(options)}

    def enable_fallback(self) -> None:
        """Accepted; there is no other provider to fall back to."""

    def disable_fallback(self) -> None:
        """Accepted; there is no other provider to fall back to."""

    def io_binding(self) -> IOBinding:
        """Buffers bound by name, for :meth:`run_with_iobinding`."""
        return IOBinding([spec.name for spec in self._exe.outputs])

    def run_with_iobinding(self, iobinding: IOBinding, run_options: Any = None) -> None:
        """Run once on bound inputs; the results go to the bound outputs."""
        iobinding.take(self._exe.run(iobinding.output_names, iobinding.feeds))


def get_available_providers() -> list[str]:
    """The providers a session can have, under onnxruntime's names."""
    return [CPU_PROVIDER]


def get_device() -> str:
    """The kind of device that sessions run on: ``CPU``."""
    return "CPU"


def _make(source: str | PathLike[str] | bytes, sess_options: Any, options: dict[str, Any]) -> Executable:
    """Compile, or load if the source is a folder; thread count and level come from the session's options."""
    import accelc.driver as driver

    threads = (
        options.pop("threads", None) or int(getattr(sess_options, "intra_op_num_threads", 0)) or usable_cpus()
    )
    if not isinstance(source, bytes) and Path(source).is_dir():
        return driver.load(Path(source), threads=threads, **options)
    level = int(getattr(sess_options, "graph_optimization_level", GraphOptimizationLevel.ORT_ENABLE_ALL))
    options.setdefault("level", min(level, 2))
    options.setdefault("verify", False)
    dims = {**getattr(sess_options, "free_dimensions", {}), **(options.pop("dims", None) or {})}
    exe = driver.compile(
        source if isinstance(source, bytes) else Path(source), threads=threads, dims=dims or None, **options
    )
    path = str(getattr(sess_options, "optimized_model_filepath", "") or "")
    if path and exe.model is not None:
        import onnx_ir as ir

        ir.save(exe.model, path)
    return exe


def _node_arg(spec: TensorSpec) -> NodeArg:
    kind = "object" if spec.dtype.kind in "OUS" else spec.dtype.name
    return NodeArg(spec.name, f"tensor({_TYPE_NAMES.get(kind, kind)})", list(spec.shape or ()))
