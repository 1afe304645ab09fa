"""Every op that has a meaning in arrays, at every opset, is lowered with ONNX's own attributes and defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from onnx import defs, helper

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

import lowering_harness

from accelc.targets.jax_xla.control import LOWERINGS
from accelc.targets.jax_xla.table import Rule, snake
from accelc.targets.jax_xla.trace import WITHOUT_MEANING

OTHER_WAYS = {
    "Constant": "read by the tracer",
    **dict.fromkeys(("NonZero", "Compress", "Unique", "NonMaxSuppression"), "the shape depends on the data"),
    **dict.fromkeys(("LinearAttention", "CausalConvWithState"), "expanded: functions of newer opsets"),
    "ImageDecoder": "files of images are read on the host",
}
HOST_TYPES = ("Sequence", "Optional", "String", "Regex", "TfIdf")
ALIKE = {
    ("GridSample", "mode"): "bilinear is linear by its old name",
    ("Clip", "max"): "no bound",
    ("Clip", "min"): "no bound",
    ("GRU", "direction"): "misspelt at opset 1",
    ("Gemm", "broadcast"): "operands broadcast anyway",
    ("RNN", "activations"): "one for each direction",
    ("Dropout", "ratio"): "nothing is dropped outside of training",
}
ALIKE.update(
    {(op, "output_sequence"): "what is not asked for is not an output" for op in ("GRU", "LSTM", "RNN")}
)


def schemas() -> Iterator[Any]:
    return (schema for schema in defs.get_all_schemas_with_history() if schema.domain == "")


def rule_of(schema: Any) -> Rule | None:
    return lowering_harness.table().find("", schema.name, schema.since_version)


def plain(value: Any) -> Any:
    """An attribute value that compares by what it says."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    return round(value, 6) if isinstance(value, float) else value


def test_every_op_of_arrays() -> None:
    missing = {
        schema.name
        for schema in schemas()
        if rule_of(schema) is None
        and schema.name not in OTHER_WAYS
        and schema.name not in LOWERINGS
        and not any(kind in schema.name for kind in HOST_TYPES)
    }
    assert missing == set()


def test_attributes_have_onnx_names_and_defaults() -> None:
    wrong = []
    for schema in schemas():
        rule = rule_of(schema)
        if rule is None:
            continue
        parameters = inspect.signature(rule.function).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for name, attribute in schema.attributes.items():
            parameter = parameters.get(snake(name))
            if name in WITHOUT_MEANING or (schema.name, name) in ALIKE:
                continue
            if parameter is None:
                if not takes_any:
                    wrong.append(f"{schema.name}-{schema.since_version} does not take {name}")
                continue
            if not attribute.default_value.name:
                continue
            default = plain(helper.get_attribute_value(attribute.default_value))
            if plain(parameter.default) != default:
                wrong.append(
                    f"{schema.name}-{schema.since_version}: {name} is {parameter.default}, not {default}"
                )
    assert wrong == []


def test_every_operand_has_a_place() -> None:
    wrong = []
    for schema in schemas():
        rule = rule_of(schema)
        if rule is None:
            continue
        parameters = list(inspect.signature(rule.function, follow_wrapped=False).parameters.values())[1:]
        places = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        if not takes_any and len(places) < len(schema.inputs):
            wrong.append(f"{schema.name}-{schema.since_version} takes {len(places)} of {len(schema.inputs)}")
        if rule.static and max(rule.static) >= len(schema.inputs) and not takes_any:
            # Newer and older forms share a rule; its static places are those of the newer one.
            newest = max(s.since_version for s in schemas() if s.name == schema.name)
            if schema.since_version == newest:
                wrong.append(f"{schema.name}-{schema.since_version} has no operand {max(rule.static)}")
    assert wrong == []
