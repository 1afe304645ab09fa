"""``accelc inspect``: what is in a model or an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.output import emit_json, rows, table
from accelc.errors import UsageError
from accelc.quantities import count_text, size_text

if TYPE_CHECKING:
    from accelc.plan.memory_map import MemoryMap

app = opt.verb()

_LONGEST_FORMULA, _MOST_FORMULAS = 120, 4
"""What is shown of a peak's formula; ``--json`` has all of it."""


@app.command()
def inspect_source(
    source: Annotated[Path, typer.Argument(metavar="MODEL|ART", help="A model, or an artifact folder.")],
    nodes: Annotated[bool, typer.Option("--nodes", help="List every top-level node.")] = False,
    weights: Annotated[
        int, typer.Option("--weights", min=0, help="List so many of the largest weights.")
    ] = 5,
    memory: Annotated[
        Path | None,
        typer.Option(
            "--memory", metavar="FILE.svg", help="Draw an artifact's memory plan for sizes of --dim."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="NAME", help="Route an artifact's circuits onto line-5, h-7, nairobi ..."
        ),
    ] = None,
    dim: opt.Dims = None,
    allow_links: opt.AllowLinks = None,
    as_json: opt.Json = False,
) -> None:
    """Show what is in a model: inputs, ops, weights, memory, circuits."""
    dims = opt.parse_dims(dim)
    facts = _facts(source, dims, weights, allow_links)
    if device is not None:
        facts["routed"] = _routed(facts, source, device)
    if memory is not None:
        from accelc.inspection import artifact_memory

        plan = artifact_memory(source, facts["flops_at"])
        _draw(plan, memory, str(source))
        facts |= {"memory_plan": plan.to_json(), "picture": str(memory)}
    if as_json:
        emit_json(facts)
        return
    print(source)
    print(rows(_overview(facts)))
    total = max(1, sum(row["flops"] for row in facts["ops"]))
    lines = [
        (r["op"], r["count"], count_text(r["flops"]), f"{100 * r['flops'] / total:.1f}%")
        for r in facts["ops"]
    ]
    print("\n" + table(("op", "count", "FLOPs", "share"), lines, right=(1, 2, 3)))
    if "circuits" in facts:
        print("\n" + _circuits_text(facts["circuits"]))
    if device is not None:
        print("\n" + _routed_text(facts["routed"], device))
    if facts["largest_weights"]:
        found = facts["largest_weights"]
        sizes = [
            (w["name"], f"{w['dtype']}[{','.join(map(str, w['shape']))}]", size_text(w["bytes"]))
            for w in found
        ]
        print("\n" + table(("weight", "type", "size"), sizes, right=(2,)))
    if memory is not None:
        print("\n" + rows(_memory_rows(plan, memory)))
    if nodes:
        print("\n" + _nodes_text(facts["node_list"]))


def _nodes_text(nodes: list[dict[str, Any]]) -> str:
    """One line per node; what it stands for only where that is not the node itself."""
    made = any(node["origin"] != [node["name"]] for node in nodes)
    lines = [
        (n["name"], n["op"], "; ".join(n["outputs"]), *((", ".join(n["origin"]),) if made else ()))
        for n in nodes
    ]
    return table(("node", "op", "result", *(("stands for",) if made else ())), lines)


def _circuits_text(circuits: list[dict[str, Any]]) -> str:
    """A line per circuit; numbers that the manifest lacks stay empty."""
    columns = {
        "qubits": "qubits",
        "CX": "cx",
        "1-qubit": "one_qubit",
        "depth": "depth",
        "T": "t",
        "at error": "epsilon",
        "alpha / norm": "alpha_ratio",
        "shots for 1%": "shots_for_1_percent",
    }
    lines = []
    for found in circuits:
        numbers = [found.get(key, "") for key in columns.values()]
        shape = "x".join(map(str, found.get("shape", [])))
        shown = [f"{number:.3g}" if isinstance(number, float) else str(number) for number in numbers]
        lines.append((found["qasm"], found["segment"], shape, found.get("method", ""), *shown))
    header = ("circuit", "of", "matrix", "encoding", *columns)
    return table(header, lines, right=range(4, len(header)))


def _routed(facts: dict[str, Any], folder: Path, name: str) -> list[dict[str, Any]]:
    """What each circuit becomes on a device; only its name where it needs more qubits than there are.

    Raises:
        UsageError: There are no circuits, or there is no such device.
    """
    from accelc.targets.quantum_circuit.devices import device, route
    from accelc.targets.quantum_circuit.emit_qasm import parse_qasm3

    if "circuits" not in facts:
        raise UsageError("there are no circuits to route", fix="inspect an artifact of target quantum")
    onto = device(name)
    found: list[dict[str, Any]] = []
    for entry in facts["circuits"]:
        file = entry["qasm"]
        if file not in facts["files"]:
            raise UsageError(f"the artifact has no file {file}")
        circuit = parse_qasm3((folder / file).read_text(encoding="ascii", errors="replace"))
        found.append({"qasm": file, "device": name, "fits": circuit.qubits <= onto.qubits})
        if found[-1]["fits"]:
            routed = route(circuit, onto)
            found[-1] |= {"two_qubit": routed.two_qubit, "one_qubit": routed.one_qubit}
            found[-1] |= {"depth": routed.depth, "faultless": routed.faultless}
    return found


def _routed_text(circuits: list[dict[str, Any]], device: str) -> str:
    lines = [
        (c["qasm"], c["two_qubit"], c["one_qubit"], c["depth"], f"{c['faultless']:.2g}")
        if c["fits"]
        else (c["qasm"], "needs more qubits", "", "", "")
        for c in circuits
    ]
    return table((f"on {device}", "2-qubit", "1-qubit", "depth", "no fault"), lines, right=(1, 2, 3, 4))


def _draw(plan: MemoryMap, picture: Path, title: str) -> None:
    from accelc.plan.picture import memory_svg

    try:
        picture.write_text(memory_svg(plan, title=title), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {picture}", why=str(error)) from error


def _memory_rows(plan: MemoryMap, picture: Path) -> list[tuple[str, str]]:
    at = ", ".join(f"{name}={size}" for name, size in plan.symbols.items())
    shown = [text for text in plan.formula if len(text) <= _LONGEST_FORMULA][:_MOST_FORMULAS]
    more = len(plan.formula) - len(shown)
    formula = [*shown, f"{more} more: see --json"] if more else shown
    return [
        ("arena", f"{size_text(plan.peak_bytes)}, {plan.peak_bytes} bytes{f'  (at {at})' if at else ''}"),
        ("lower bound", f"{size_text(plan.lower_bound_bytes)}: the most bytes alive at one step"),
        ("for any sizes", "the largest of\n" + "\n".join(formula) if plan.formula else ""),
        ("buffers", f"{len(plan.buffers)} in {len(plan.steps)} steps"),
        ("picture", str(picture)),
    ]


def _facts(source: Path, dims: dict[str, int], weights: int, links: Path | None) -> dict[str, Any]:
    from accelc import inspection
    from accelc.ir.cost import model_cost, parameter_count, weight_bytes
    from accelc.ir.pass_base import count_nodes
    from accelc.ir.shapes import infer

    facts: dict[str, Any] = {"source": str(source), "kind": "model"}
    if opt.is_artifact(source):
        from accelc import artifact

        manifest = artifact.read(source)
        model = artifact.read_model(source, manifest)
        infer(model)
        facts |= {"kind": "artifact", "target": manifest["target"], "verification": manifest["verification"]}
        facts |= {"compiled_for": manifest["payload"].get("cpu", ""), "passes": manifest["passes"]}
        facts |= {"memory": manifest["facts"]["memory"], "parameters": manifest["facts"]["parameters"]}
        if circuits := inspection.artifact_circuits(manifest):
            facts["circuits"] = circuits
        facts |= {"files": {name: entry["size"] for name, entry in manifest["files"].items()}}
    else:
        from accelc.driver import import_model
        from accelc.request import Request

        if not source.is_file():
            opt.missing(source)
        model = import_model(Request(source, dims=dims, allow_links=links)).model
        facts |= {"parameters": parameter_count(model), "weight_bytes": weight_bytes(model)}
    free = inspection.free_symbols(model)
    if facts["kind"] == "artifact" and (unknown := dims.keys() - free):
        raise UsageError(
            f"the artifact has no free dim {sorted(unknown)[0]!r}",
            why=f"free are {', '.join(free)}" if free else "all its dims are fixed",
        )
    symbols = free | dims
    return {
        **facts,
        **inspection.interface(model),
        "nodes": count_nodes(model),
        "kernels": len({n.op_type for n in model.graph if n.domain == inspection.FUSED}),
        "flops": model_cost(model, symbols).flops,
        "flops_at": symbols,
        "ops": inspection.ops_by_work(model, symbols),
        "largest_weights": inspection.largest_weights(model, weights),
        "node_list": inspection.nodes_in_order(model),
    }


def _overview(facts: dict[str, Any]) -> list[tuple[str, str]]:
    from accelc.cli.summary_text import verification_text

    at = ", ".join(f"{name}={size}" for name, size in facts["flops_at"].items())
    kinds = facts["kernels"]
    fused = f"  ({kinds} kind{'' if kinds == 1 else 's'} of fused kernel)" if kinds else ""
    pairs = [
        ("target", f"{facts['target']}, made for {facts['compiled_for']}" if "target" in facts else ""),
        ("inputs", "\n".join(facts["inputs"])),
        ("outputs", "\n".join(facts["outputs"])),
        ("nodes", f"{facts['nodes']}{fused}"),
        ("parameters", count_text(facts["parameters"])),
        ("weights", size_text(facts["weight_bytes"]) if "weight_bytes" in facts else ""),
        ("FLOPs", f"{count_text(facts['flops'])}{f'  (at {at})' if at else ''}"),
    ]
    if "memory" in facts:
        peak = facts["memory"]["peak_bytes"]
        pairs.append(("peak memory", size_text(peak) if peak else "planned at the first call"))
        pairs.append(("verification", verification_text(facts["verification"])))
        pairs.append(("files", _files_text(facts["files"])))
    return pairs


def _files_text(files: dict[str, int]) -> str:
    """A line per file, and one for all that lie in the same folder."""
    folders: dict[str, list[int]] = {}
    for name, size in files.items():
        folder, slash, _ = name.rpartition("/")
        folders.setdefault(f"{folder}/" if slash else name, []).append(size)
    width = max(map(len, folders), default=0)
    return "\n".join(
        f"{name:<{width}}  {size_text(sum(sizes))}"
        + (f" in {len(sizes)} files" if name.endswith("/") else "")
        for name, sizes in folders.items()
    )
