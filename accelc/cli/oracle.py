"""``accelc oracle``: a binary network as a reversible circuit, and Grover's search for inputs with a property."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.output import emit_json, rows, table, to_stderr
from accelc.errors import EXIT_OK, EXIT_USAGE, UsageError

if TYPE_CHECKING:
    import onnx_ir as ir

    from accelc.targets.quantum_circuit.circuit import Circuit

app = opt.verb()

_MOST_SHOWN = 10
_NO_CIRCUIT = "no input has the property, all have it, or the search is too long to write out"


@app.command()
def search_inputs(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A binary or quantised network.")],
    wanted: Annotated[
        str | None,
        typer.Option(
            "--property", help='"output==C", "output[I]==C", "one-bit-apart" or "within K of BITS".'
        ),
    ] = None,
    bits: Annotated[
        str,
        typer.Option("--bits", help="What a bit of a signed input means: signs (-1, 1) or binary (0, 1)."),
    ] = "signs",
    few_qubits: Annotated[
        bool, typer.Option("--few-qubits", help="Use ancillas again: fewer qubits, more Toffoli gates.")
    ] = False,
    success: Annotated[
        float, typer.Option("--success", help="Least probability that a run succeeds.")
    ] = 0.95,
    shots: Annotated[int, typer.Option("--shots", min=1, help="Measurements to draw.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the measurements drawn.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PLACE",
            help="Write the circuit: FILE.qasm, .quil, .qpy or .svg, or a folder for all of them.",
        ),
    ] = None,
    dim: opt.Dims = None,
    allow_links: opt.AllowLinks = None,
    as_json: opt.Json = False,
) -> int:
    """Search a binary network's inputs for a property with a checked quantum oracle (simulated)."""
    if bits not in ("signs", "binary"):
        raise UsageError(f"cannot read --bits {bits}", fix="write --bits signs or --bits binary")
    from accelc.targets.quantum_circuit import outputs
    from accelc.targets.quantum_circuit.oracle.properties import parse_property
    from accelc.targets.quantum_circuit.oracle.search import (
        build_oracle,
        check_oracle,
        reference_for,
        search,
    )

    if output is not None:
        outputs.check_place(output)
    asked = None if wanted is None else parse_property(wanted)
    imported, batched = _load(model, opt.parse_dims(dim), allow_links)
    built = build_oracle(imported, signs=bits == "signs", few_qubits=few_qubits)
    values, compared = check_oracle(built, imported, batched=batched)
    facts: dict[str, Any] = {
        "model": str(model),
        "inputs": [
            {"name": i.name, "bits": i.size, "values": [-1 if i.signs else 0, 1]} for i in built.inputs
        ],
        "model_oracle": built.oracle.resources(),
        "inputs_checked": compared,
        "checked_against": reference_for(imported)[0],
    }
    circuit: Circuit | None = built.oracle.circuit
    if asked is not None:
        found = search(
            imported,
            asked,
            signs=bits == "signs",
            few_qubits=few_qubits,
            success=success,
            outputs=values,
        )
        circuit = found.circuit()
        facts |= {
            "property": wanted,
            **found.to_json(),
            "measured": found.sample(shots, seed),
            "shots": shots,
        }
    if output is not None:
        files = [] if circuit is None else outputs.write(circuit, output, model.stem)
        facts["files"] = [str(file) for file in files]
    missing = output is not None and circuit is None
    code = EXIT_USAGE if missing else EXIT_OK
    if as_json:
        emit_json(facts, code)
    else:
        _show(facts)
    if missing:
        to_stderr(f"nothing is written to {output}: {_NO_CIRCUIT}")
    return code


def _load(model: Path, dims: dict[str, int], links: Path | None) -> tuple[ir.Model, ir.Model | None]:
    """The imported model with free dims of 1; and as it came, if its one free dim is the batch."""
    from accelc.driver import import_model
    from accelc.inspection import free_symbols
    from accelc.request import Request

    if not model.is_file():
        opt.missing(model)
    given = import_model(Request(model, dims=dims, allow_links=links)).model
    free = free_symbols(given)
    if not free:
        return given, None
    fixed = import_model(Request(model, dims={**dict.fromkeys(free, 1), **dims}, allow_links=links)).model
    values = [*given.graph.inputs, *given.graph.outputs]
    leads = len(free) == 1 and all(v.shape and not isinstance(v.shape[0], int) for v in values)
    return fixed, given if leads else None


def _cost(cost: dict[str, int | float] | None) -> str:
    if cost is None:
        return ""
    return (
        f"{cost['qubits']} qubits, {cost['toffoli']} Toffoli, {cost['t']} T ({cost['t_measured']} with measurement), "
        f"{cost['cx']} CX with those of the Toffoli gates, depth {cost['depth']}"
    )


def _show(facts: dict[str, Any]) -> None:
    print(facts["model"])
    pairs = [
        ("inputs", ", ".join(f"{i['name']}: {i['bits']} bits of {i['values']}" for i in facts["inputs"])),
        ("oracle", _cost(facts["model_oracle"])),
        (
            "checked",
            f"equal to {facts['checked_against']} on {facts['inputs_checked']} inputs, ancillas back at 0",
        ),
    ]
    if "property" in facts:
        pairs += [
            ("property", facts["property"]),
            ("solutions", f"{facts['solutions']} of {facts['inputs_searched']}"),
            ("its oracle", _cost(facts["oracle"])),
        ]
        if facts["iterations"] is not None:
            kind = ", exact with one more qubit" if facts["exact"] else ""
            chance = f"{100 * facts['success_probability']:.2f}%"
            guess = f"{100 * facts['random_guess']:.2f}%"
            pairs.append(("search", f"{facts['iterations']} rounds{kind}: {chance} (a guess: {guess})"))
            pairs.append(("its circuit", _cost(facts["search"])))
    pairs += [("file", file) for file in facts.get("files", [])]
    print(rows(pairs))
    if facts.get("measured"):
        lines = list(facts["measured"].items())
        print("\n" + table(("measured bits", "times"), lines[:_MOST_SHOWN], right=(1,)))
        if len(lines) > _MOST_SHOWN:
            print(f"and {len(lines) - _MOST_SHOWN} others")
