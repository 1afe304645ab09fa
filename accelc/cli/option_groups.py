"""Options that several verbs share, as groups: a verb takes a group as one parameter, users see its options.

A group is a frozen dataclass whose fields are options; ``grouped`` puts the fields in the parameter's place.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from accelc.cli import options as opt
from accelc.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from accelc.pipeline import Pipeline
    from accelc.request import Progress, Request
    from accelc.target import Executable


class Group:
    """Base of the groups, by which ``grouped`` knows them."""


def grouped(verb: Callable[..., Any]) -> Callable[..., Any]:
    """``verb`` with the options of every group it takes in the place of the group."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for parameter in inspect.signature(verb, eval_str=True).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and issubclass(kind, Group):
            groups[parameter.name] = kind
            parameters += _options(kind)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def call(**values: Any) -> Any:
        for name, kind in groups.items():
            values[name] = kind(**{option.name: values.pop(option.name) for option in _options(kind)})
        return verb(**values)

    call.__name__, call.__doc__ = verb.__name__, verb.__doc__
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def _options(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name])
        for field in dataclasses.fields(group)
    ]


@dataclass(frozen=True)
class Compiling(Group):
    """How to compile; what is loaded from an artifact reads ``threads``, ``cache_dir``, ``sanitize`` and ``shots``."""

    target: opt.TargetName = "cpu"
    level: opt.Level = 2
    passes: opt.PassesText = None
    pass_from: opt.PassFrom = None
    dim: opt.Dims = None
    shape: opt.Shapes = None
    threads: opt.Threads = 1
    precision: opt.Precision = "f32"
    max_rewrites: opt.MaxRewrites = None
    max_fold_bytes: opt.MaxFoldBytes = None
    allow_links: opt.AllowLinks = None
    cache_dir: opt.CacheDir = None
    vector_bits: opt.VectorBits = None
    keep_functions: opt.KeepFunctions = False
    mem_limit: opt.MemLimit = None
    sanitize: opt.Sanitize = False
    shots: opt.Shots = None
    encoding_error: opt.EncodingError = 1e-9
    encoding_seconds: opt.EncodingSeconds = 30.0

    @property
    def dims(self) -> dict[str, int]:
        """Sizes of symbolic dims.

        Raises:
            UsageError: One cannot be read.
        """
        return opt.parse_dims(self.dim)

    def request(self, model: Path, **others: Any) -> Request:
        """The request that the options stand for, and ``others`` as its further fields.

        Raises:
            UsageError: An option makes no sense, or there is no such file.
        """
        from accelc.ir.pass_base import Limits
        from accelc.pipeline import Pipeline
        from accelc.request import Request, parse_bytes

        if not model.is_file():
            opt.missing(model)
        pipeline = self._default_pipeline()
        if self.passes is not None:
            pipeline = pipeline.edited(self.passes) if self.passes else Pipeline()
        if self.pass_from:
            from accelc.passes import load_from_file

            pipeline = pipeline.before_fusion(*[load_from_file(spec) for spec in self.pass_from])
        limits = Limits()
        if self.max_fold_bytes is not None:
            limits = dataclasses.replace(limits, max_fold_bytes=self.max_fold_bytes)
        own = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name in Request.__dataclass_fields__ and field.name != "passes"
        }
        own["mem_limit"] = None if self.mem_limit is None else parse_bytes(self.mem_limit)
        shapes = opt.parse_shapes(self.shape)
        return Request(
            model=model, pipeline=pipeline, limits=limits, dims=self.dims, shapes=shapes, **own, **others
        )

    def _default_pipeline(self) -> Pipeline:
        from accelc.driver import resolve_target
        from accelc.target import TargetOptions

        options = TargetOptions(keep_functions=self.keep_functions)
        return resolve_target(self.target).pipeline(self.level, options)

    def open(self, source: Path, progress: Progress | None = None, *, verify: int = 0) -> Executable:
        """Load an artifact, or compile a model; verified on so many input sets.

        Raises:
            UsageError: There is no such file.
        """
        from accelc import driver

        if opt.is_artifact(source):
            return driver.load(
                source,
                threads=self.threads,
                cache_dir=self.cache_dir,
                sanitize=self.sanitize,
                shots=self.shots,
                progress=progress,
            )
        if not source.exists():
            raise UsageError(f"there is no file {source}", fix="give an artifact or an .onnx file")
        return driver.run_request(self.request(source, verify=verify, progress=progress))


@dataclass(frozen=True)
class Feeding(Group):
    """What to run on."""

    inputs: opt.Inputs = None
    seed: opt.Seed = 0

    def given(self) -> dict[str, np.ndarray]:
        """The user's own arrays.

        Raises:
            UsageError: A file is missing or cannot be read.
        """
        return opt.read_inputs(self.inputs)

    def complete(self, exe: Executable, dims: Mapping[str, int]) -> dict[str, np.ndarray]:
        """The given inputs, and random ones for the rest that agree with them on symbolic dims.

        Raises:
            UsageError: A file cannot be read.
        """
        from accelc.artifact import read, read_model
        from accelc.inputs import random_feeds
        from accelc.ir.dims import is_symbol

        given = self.given()
        names = [spec.name for spec in exe.inputs]
        if all(name in given for name in names) or set(given) - set(names):
            return given  # the call names what it does not take
        sizes = dict(dims)
        for spec in exe.inputs:
            if spec.name in given and spec.shape is not None:
                pairs = zip(spec.shape, given[spec.name].shape, strict=False)
                sizes.update({d: n for d, n in pairs if isinstance(d, str) and is_symbol(d)})
        if exe.model is not None:
            model = exe.model
        elif exe.artifact is not None:
            model = read_model(exe.artifact, read(exe.artifact))
        else:
            return given
        drawn = random_feeds(model, seed=self.seed, sizes=sizes)
        return {name: given.get(name, drawn[name]) for name in names}
