"""What to search inputs for: one bit of a network that is 1 where the property holds."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.oracle.lower import InputBits, input_signals, lower
from accelc.targets.quantum_circuit.oracle.network import Linear, Network

SYNTAX = '"output==C", "output[I]==C", "one-bit-apart", or "within K of BITS"'


@dataclass(frozen=True)
class OutputIs:
    """The model's output is a value: ``output==1``, or ``output[3]==1`` for one element of several."""

    value: float
    element: int | None = None

    def extra_bits(self, inputs: int) -> int:
        """Bits of the search besides the model's inputs."""
        return 0

    def build(self, model: ir.Model, inputs: tuple[InputBits, ...], network: Network) -> Linear:
        """The property as a 0-1 value."""
        outputs = _flat(lower(model, inputs, input_signals(network.inputs), network))
        element = _element(self, len(outputs))
        return network.equal(outputs[element], Linear.of(self.value))

    def expected(self, outputs: np.ndarray) -> np.ndarray:
        """Where it holds bool [2**bits], from the outputs [2**inputs, elements] of all inputs."""
        return np.asarray(outputs[:, _element(self, outputs.shape[1])] == self.value)


@dataclass(frozen=True)
class OneBitApart:
    """An input and the number of one of its bits: flipping that bit changes the output."""

    def extra_bits(self, inputs: int) -> int:
        """Bits of the search besides the model's inputs: the number of the flipped bit."""
        return max(0, (inputs - 1).bit_length())

    def build(self, model: ir.Model, inputs: tuple[InputBits, ...], network: Network) -> Linear:
        """The property as a 0-1 value; numbers past the last bit flip nothing, and so do not hold."""
        bits = sum(made.size for made in inputs)
        given, index = input_signals(bits), input_signals(network.inputs - bits, bits)
        flipped = []
        for i, element in enumerate(given):
            chosen = network.both(b if i >> place & 1 else 1.0 - b for place, b in enumerate(index))
            flipped.append(network.exclusive(element, chosen))
        return _differ(model, inputs, network, given, flipped)

    def expected(self, outputs: np.ndarray) -> np.ndarray:
        """Where it holds bool [2**bits], from the outputs [2**inputs, elements] of all inputs."""
        inputs = len(outputs).bit_length() - 1
        numbers = np.arange(len(outputs))
        marked = np.zeros((1 << self.extra_bits(inputs), len(outputs)), bool)
        for i in range(inputs):
            marked[i] = (outputs != outputs[numbers ^ (1 << i)]).any(axis=1)
        return marked.ravel()


@dataclass(frozen=True)
class Within:
    """At most ``distance`` bits from a given input, with another output than it has."""

    distance: int
    bits: tuple[bool, ...]

    def extra_bits(self, inputs: int) -> int:
        """Bits of the search besides the model's inputs.

        Raises:
            UsageError: The given input has another number of bits.
        """
        if len(self.bits) != inputs:
            raise UsageError(f"the property gives {len(self.bits)} bits, the model takes {inputs}")
        return 0

    def build(self, model: ir.Model, inputs: tuple[InputBits, ...], network: Network) -> Linear:
        """The property as a 0-1 value."""
        given = input_signals(network.inputs)
        centre = [Linear.of(float(b)) for b in self.bits]
        changed = sum((1.0 - x if b else x for x, b in zip(given, self.bits, strict=True)), Linear(0.0, {}))
        near = network.at_least(Linear.of(float(self.distance)) - changed)
        return network.both((near, _differ(model, inputs, network, given, centre)))

    def expected(self, outputs: np.ndarray) -> np.ndarray:
        """Where it holds bool [2**bits], from the outputs [2**inputs, elements] of all inputs."""
        numbers = np.arange(len(outputs))
        centre = sum(1 << i for i, b in enumerate(self.bits) if b)
        distance = np.bitwise_count(numbers ^ centre)
        return np.asarray((distance <= self.distance) & (outputs != outputs[centre]).any(axis=1))


Property = OutputIs | OneBitApart | Within


def parse_property(text: str) -> Property:
    """A property from its text.

    Raises:
        UsageError: It cannot be read.
    """
    if found := re.fullmatch(r"output(?:\[(\d+)\])?\s*==\s*([-+]?\d+(?:\.\d+)?|true|false)", text.strip()):
        value = {"true": 1.0, "false": 0.0}.get(found[2])
        return OutputIs(
            float(found[2]) if value is None else value, None if found[1] is None else int(found[1])
        )
    if text.strip() == "one-bit-apart":
        return OneBitApart()
    if found := re.fullmatch(r"within\s+(\d+)\s+of\s+([01]+)", text.strip()):
        return Within(int(found[1]), tuple(b == "1" for b in found[2]))
    raise UsageError(f"cannot read --property {text!r}", fix=f"write {SYNTAX}")


def _flat(tensors: list[np.ndarray]) -> list[Linear]:
    return [Linear.of(element) for tensor in tensors for element in tensor.ravel()]


def _element(wanted: OutputIs, elements: int) -> int:
    if wanted.element is None and elements != 1:
        raise UsageError(f"the model has {elements} output elements", fix="say which, as in output[0]==1")
    element = wanted.element or 0
    if element >= elements:
        raise UsageError(f"there is no output[{element}]", why=f"the model has {elements} output elements")
    return element


def _differ(
    model: ir.Model,
    inputs: tuple[InputBits, ...],
    network: Network,
    first: list[Linear],
    second: list[Linear],
) -> Linear:
    """1 where the model's outputs differ between two assignments of its bits."""
    pairs = zip(
        _flat(lower(model, inputs, first, network)),
        _flat(lower(model, inputs, second, network)),
        strict=True,
    )
    return network.any([1.0 - network.equal(a, b) for a, b in pairs])
