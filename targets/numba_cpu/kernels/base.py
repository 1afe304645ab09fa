"""What a kernel family is, and the binary interface of its kernels.

A kernel is Python text that defines ``def kernel(d, lo, hi, tid)`` in the vocabulary of ``simd.py``:

- ``d``: pointer to int64 words, the *descriptor*: addresses, extents and strides, in the order in which
  ``Family.bind`` lists them. ``ptr_f32(get(d, 3))`` is a typed pointer, ``get(d, 4)`` an extent.
- ``lo, hi``: the half-open range of tasks to do. Tasks of one call are independent of each other, numbered
  from 0 to ``Binding.tasks``; several threads call the kernel with disjoint ranges at the same time.
- ``tid``: number of the calling thread, for the workspace (``Binding.workspace_bytes`` per thread,
  thread ``tid`` owns the bytes from ``tid * workspace_bytes``, 64-byte aligned).

Literal in the text: dtype, tile, vector width, epilogue, kernel kinds. Extents, strides and offsets are
run-time words, so a new shape makes new descriptors and never new code.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from accelc.targets.numba_cpu.isa import Isa

Params = Mapping[str, Any]
"""Literal parameters of a kernel: JSON values only, as they are written to the manifest and read back."""

WORKSPACE = -1
"""Value id of a call's own workspace in an Address."""


@dataclass(frozen=True)
class KernelSource:
    """Text of one kernel; equal text is the same kernel, whatever the name."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """First 32 hex digits of the SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


class Address(NamedTuple):
    """A place in memory, resolved to a pointer when buffers have their addresses."""

    value: int
    byte_offset: int = 0


class Tensor(NamedTuple):
    """An operand of a call once shapes are known.

    ``shape`` and ``strides`` (in elements, by logical dim) describe it fully: a transposed, channels-last
    or sliced value is the same memory with other strides. ``offset`` is in elements.
    """

    value: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    def address(self, element: int = 0) -> Address:
        """Address of the element at ``element`` (in elements of this dtype, from the tensor's first)."""
        return Address(self.value, (self.offset + element) * itemsize(self.dtype))

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


_ITEMSIZE = {
    "float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "bool": 1,
    "int8": 1, "int16": 2, "int32": 4, "int64": 8,
    "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
    "complex64": 8, "complex128": 16,
}  # fmt: skip


def itemsize(dtype: str) -> int:
    """Bytes of one element of a dtype (NumPy name)."""
    try:
        return _ITEMSIZE[dtype]
    except KeyError:
        return int(np.dtype(dtype).itemsize)


@dataclass
class Binding:
    """One call made concrete.

    Args:
        words: The descriptor.
        tasks: Independent units of work; 0 if there is nothing to do.
        grain: Tasks that are worth one thread's while (about 5 µs of work).
        workspace_bytes: Scratch memory for each thread; its base is ``Address(WORKSPACE)``.
        flag: Place of the word that the kernel sets to 1 if it meets an index out of range; -1 if it has none.
    """

    words: list[int | Address]
    tasks: int
    grain: int = 1
    workspace_bytes: int = 0
    flag: int = -1


GRAIN_NS = 5000.0
"""Work that is worth one thread's while, as a kernel alone on a core does it out of its caches."""


def grain_of(task_ns: float) -> int:
    """The grain of tasks that take ``task_ns`` nanoseconds each."""
    return max(1, round(GRAIN_NS / max(task_ns, 1.0)))


class Family(ABC):
    """Generator of one kind of kernel. Families are stateless; all state is in ``params``."""

    name: ClassVar[str]

    @abstractmethod
    def source(self, params: Params, isa: Isa) -> KernelSource:
        """Text for these literal parameters: deterministic, and safe for any ``params`` that ``check`` lets through."""

    @abstractmethod
    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """Descriptor for concrete operands. Runs at call time on every new shape: microseconds, no NumPy on data.

        Raises CallError if run-time extents do not fit together (they may come from a user's shapes).
        """

    @abstractmethod
    def check(self, params: Params) -> None:
        """Raise ArtifactError unless ``params`` (read from a file) are of the right form and range.

        The text is generated from ``params``, so anything that reaches the text must be checked here
        (integers in range, names from a fixed table): nothing from a file is ever pasted into code.
        """
