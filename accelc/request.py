"""Everything one compile depends on, as one value: runs can be repeated with a field changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelc.errors import UsageError
from accelc.ir.pass_base import Limits
from accelc.pipeline import Pipeline, Step
from accelc.target import Target, TargetOptions

Progress = Callable[[str, int, int], None]
"""Told what is being worked on: (what, done, total); total is 0 where it is not known."""

PRECISIONS = ("f32", "tf32", "bf16", "f16")


_UNITS = {"": 1, "B": 1} | {
    f"{prefix}{infix}B".upper(): base**power
    for infix, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate("KMGT", 1)
}


def parse_bytes(text: str | int) -> int:
    """``"80MB"``, ``"1.5 GiB"`` or a number of bytes; KB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024.

    Raises:
        UsageError: It is none of these.
    """
    if isinstance(text, int):
        return text
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text, re.ASCII)
    scale = None if found is None else _UNITS.get(found[2].upper())
    if found is None or scale is None:
        raise UsageError(f"cannot read the size {text!r}", fix="write bytes, or a unit: 80MB, 1.5GiB")
    return int(float(found[1]) * scale)


@dataclass(frozen=True)
class Request:
    """Everything one compile depends on; see :func:`accelc.compile` for the fields."""

    model: Any
    target: str | Target = "cpu"
    level: int = 2
    pipeline: Pipeline | None = None
    passes: str | Sequence[Step] | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    threads: int = 1
    precision: str = "f32"
    verify: int | bool = 1
    strict: bool = False
    cache_dir: Path | None = None
    vector_bits: int | None = None
    keep_functions: bool = False
    mem_limit: int | None = None
    sanitize: bool = False
    shots: int | None = None
    encoding_error: float = 1e-9
    encoding_seconds: float = 30.0
    allow_links: Path | None = None
    limits: Limits = field(default_factory=Limits)
    data: Any = None
    seed: int = 0
    max_rewrites: int | None = None
    verify_each: bool = False
    print_ir_after: Sequence[str] = ()
    emit: Callable[[str, str], None] | None = None
    dump_on_error: Path | None = None
    time_limit: float | None = None
    progress: Progress | None = None

    def check(self) -> None:
        """Raise UsageError for values that make no sense."""
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"there is no precision {self.precision!r}", fix=f"use one of {', '.join(PRECISIONS)}"
            )
        for name, value, low in (("threads", self.threads, 1), ("verify", int(self.verify), 0)):
            if value < low:
                raise UsageError(f"{name}={value} makes no sense", why=f"it must be at least {low}")
        if self.pipeline is not None and isinstance(self.passes, str):
            raise UsageError("both pipeline= and passes= say which passes to run", fix="give one of them")
        if self.mem_limit is not None and self.mem_limit <= 0:
            raise UsageError(f"mem_limit={self.mem_limit} makes no sense", why="it must be at least 1 byte")
        if self.shots is not None and not 0 <= self.shots < 2**40:
            raise UsageError(f"shots={self.shots} makes no sense", why="it is from 0 to 2**40")
        for dim, size in self.dims.items():
            if size < 0:
                raise UsageError(f"dim {dim}={size} is negative")

    def steps(self, target: Target) -> tuple[Step, ...]:
        """The passes to run, by name or value; those that ``target`` wants unless the request says which."""
        base = self.pipeline
        if base is None:
            base = target.pipeline(self.level, self.target_options())
        if self.passes is None:
            return base.steps
        if isinstance(self.passes, str):
            return base.edited(self.passes).steps if self.passes else ()
        return tuple(self.passes)

    def target_options(self) -> TargetOptions:
        """What of this the target reads."""
        return TargetOptions(
            threads=self.threads,
            precision=self.precision,
            strict=self.strict,
            cache_dir=self.cache_dir,
            vector_bits=self.vector_bits,
            keep_functions=self.keep_functions,
            mem_limit=self.mem_limit,
            sanitize=self.sanitize,
            shots=self.shots,
            seed=self.seed,
            encoding_error=self.encoding_error,
            encoding_seconds=self.encoding_seconds,
            progress=self.progress,
        )

    def tell(self, what: str, done: int = 0, total: int = 0) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(what, done, total)
