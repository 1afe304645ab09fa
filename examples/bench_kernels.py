"""Speed of the CPU target's product kernels against onnxruntime's, one op at a time, on one thread.

Usage: python examples/bench_kernels.py [--rounds N] [--only gemm|conv|depthwise]

Each line gives the median time of both, GFLOP/s, and the median of the ratios of interleaved rounds (above 1:
accelc is faster). onnxruntime's convolutions include its own layout changes; accelc's read and write channels-last
images and include the padded copy.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_store import KernelStore
from accelc.targets.numba_cpu.kernels.base import WORKSPACE, Tensor
from accelc.targets.numba_cpu.kernels.packing import pack_convolution, pack_depthwise, pack_panels
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.kernels.tiles import choose_tile

ISA = Isa.host()
STORE = KernelStore(None, ISA)
RNG = np.random.default_rng(0)

GEMMS = [(128, 768, 3072), (128, 3072, 768), (128, 768, 768), (128, 384, 1536), (49, 512, 2048), (3136, 64, 256),
         (196, 1024, 256), (1, 784, 128), (1, 2048, 2048), (32, 2048, 2048)]  # fmt: skip
"""M, K, N: BERT, MiniLM, ResNet-50 and perceptron layers."""
CONVS = [
    (56, 64, 64, 3, 1, 1, 1),
    (28, 128, 128, 3, 1, 1, 1),
    (14, 256, 256, 3, 1, 1, 1),
    (7, 512, 512, 3, 1, 1, 1),
    (224, 3, 64, 7, 2, 3, 1),
    (224, 3, 32, 3, 2, 1, 1),
    (56, 256, 512, 1, 2, 0, 1),
    (28, 112, 112, 1, 1, 0, 4),
]
"""Height and width, C, OC, kernel, stride, pad, groups: ResNet-50, MobileNet stem, ShuffleNet."""
DEPTHWISE = [
    (112, 32, 3, 1),
    (112, 96, 3, 2),
    (56, 144, 3, 1),
    (14, 384, 3, 1),
    (7, 960, 3, 1),
    (28, 240, 5, 1),
]
"""Height and width, C, kernel, stride: MobileNet V2 and V3."""


class Case(NamedTuple):
    """One op: what it is called, its work, and how to run it either way."""

    name: str
    flops: float
    ours: Callable[[], None]
    theirs: Callable[[], None]


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that starts on a cache line."""
    memory = np.zeros(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    out = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def random(*shape: int) -> np.ndarray:
    """Standard normal float32."""
    return aligned(RNG.standard_normal(shape).astype(np.float32))


def channels_last(array: np.ndarray) -> np.ndarray:
    """The same ``[N, C, H, W]`` array, channels last in memory."""
    return aligned(np.ascontiguousarray(array.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)


def prepare(
    name: str, params: dict[str, Any], inputs: Sequence[np.ndarray], output: np.ndarray
) -> Callable[[], None]:
    """A call of one kernel on these arrays."""
    arrays = [*inputs, output]
    operands = [
        Tensor(k, a.dtype.name, a.shape, tuple(s // a.itemsize for s in a.strides))
        for k, a in enumerate(arrays)
    ]
    chosen = family(name)
    source = chosen.source(params, ISA)
    STORE.require([source])
    binding = chosen.bind(params, operands[:-1], operands[-1:], ISA)
    workspace = aligned(np.zeros(binding.workspace_bytes + 64, np.uint8))
    words = np.array(
        [
            word
            if isinstance(word, int)
            else (workspace if word.value == WORKSPACE else arrays[word.value]).ctypes.data + word.byte_offset
            for word in binding.words
        ],
        np.int64,
    )
    kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(STORE.address(source))

    def call(_keep: Any = (workspace, words, arrays)) -> None:
        kernel(words.ctypes.data, 0, binding.tasks, 0)

    return call


def onnx_call(
    op: str, x: np.ndarray, w: np.ndarray, y_shape: Sequence[int], **attrs: Any
) -> Callable[[], None]:
    """A call of a one-node model in onnxruntime, operands bound once."""
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], **attrs)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x))
    result = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(y_shape, np.float32))
    binding.bind_ortvalue_input("x", value)
    binding.bind_ortvalue_output("y", result)

    def call(_keep: Any = (value, result)) -> None:
        session.run_with_iobinding(binding)

    return call


def gemm_cases() -> Iterator[Case]:
    """Products with constant B."""
    tile = choose_tile(ISA, "float32", None)
    params = {"dtype": "float32", "mr": tile.mr, "nv": tile.nv, "axis": -1, "a": "strided", "b": "packed"}
    for m, k, n in GEMMS:
        a, b = random(m, k), random(k, n)
        ours = prepare("gemm", params, [a, aligned(pack_panels(b, tile.nr))], random(m, n))
        yield Case(f"gemm {m}x{k}x{n}", 2.0 * m * k * n, ours, onnx_call("MatMul", a, b, (m, n)))


def conv_cases() -> Iterator[Case]:
    """Convolutions, padded copies included."""
    for size, c, oc, kernel, stride, pad, groups in CONVS:
        x, w = random(1, c, size, size), random(oc, c // groups, kernel, kernel)
        out = (size + 2 * pad - kernel) // stride + 1
        tile = choose_tile(ISA, "float32", oc // groups)
        params = {"dtype": "float32", "mr": tile.mr, "nv": tile.nv, "groups": groups, "kernel": [kernel] * 2,
                  "strides": [stride] * 2, "dilations": [1, 1]}  # fmt: skip
        calls = []
        source = x if c <= 8 else channels_last(x)
        if pad:
            padded = channels_last(random(1, c, size + 2 * pad, size + 2 * pad))
            copy = {"dtype": "float32", "pads": [pad] * 2, "flat": c > 8}
            calls.append(prepare("pad_copy", copy, [source], padded))
            source = padded
        packed = aligned(pack_convolution(w, groups, tile.nr))
        calls.append(prepare("conv", params, [source, packed], channels_last(random(1, oc, out, out))))
        theirs = onnx_call(
            "Conv", x, w, (1, oc, out, out), strides=[stride] * 2, pads=[pad] * 4, group=groups
        )  # fmt: skip

        def ours(calls: Sequence[Callable[[], None]] = tuple(calls)) -> None:
            for call in calls:
                call()

        name = f"conv {size}x{size} {c}->{oc} {kernel}x{kernel}/{stride} g{groups}"
        yield Case(name, 2.0 * out * out * oc * (c // groups) * kernel**2, ours, theirs)


def depthwise_cases() -> Iterator[Case]:
    """Depthwise convolutions."""
    for size, c, kernel, stride in DEPTHWISE:
        pad = kernel // 2
        out = (size + 2 * pad - kernel) // stride + 1
        x, w = random(1, c, size, size), random(c, 1, kernel, kernel)
        params = {"dtype": "float32", "kernel": [kernel] * 2, "strides": [stride] * 2, "dilations": [1, 1],
                  "pads": [pad] * 2}  # fmt: skip
        y = channels_last(random(1, c, out, out))
        ours = prepare("depthwise", params, [channels_last(x), aligned(pack_depthwise(w))], y)
        theirs = onnx_call("Conv", x, w, (1, c, out, out), strides=[stride] * 2, pads=[pad] * 4, group=c)
        yield Case(
            f"depthwise {size}x{size} {c} {kernel}x{kernel}/{stride}",
            2.0 * out * out * c * kernel**2,
            ours,
            theirs,
        )


def measure(case: Case, rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median ratio theirs / ours over interleaved rounds."""
    times: list[list[float]] = [[], []]
    calls = (case.ours, case.theirs)
    for call in calls:
        call()
        call()
    start = time.perf_counter()
    case.theirs()
    repeat = max(1, int(0.003 / max(time.perf_counter() - start, 1e-7)))
    for _ in range(rounds):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            found.append((time.perf_counter() - start) / repeat)
    ratios = [theirs / ours for ours, theirs in zip(*times, strict=True)]
    return statistics.median(times[0]), statistics.median(times[1]), statistics.median(ratios)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=["gemm", "conv", "depthwise"])
    args = parser.parse_args()
    groups = {"gemm": gemm_cases, "conv": conv_cases, "depthwise": depthwise_cases}
    print(f"{ISA.key}, onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}, one thread")
    print(f"{'op':34} {'accelc µs':>10} {'GFLOP/s':>8} {'ort µs':>10} {'GFLOP/s':>8} {'ratio':>6}")
    for name, cases in groups.items():
        if args.only not in (None, name):
            continue
        for case in cases():
            ours, theirs, ratio = measure(case, args.rounds)
            rates = case.flops / ours / 1e9, case.flops / theirs / 1e9
            print(
                f"{case.name:34} {ours * 1e6:10.1f} {rates[0]:8.1f} {theirs * 1e6:10.1f} {rates[1]:8.1f} {ratio:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
