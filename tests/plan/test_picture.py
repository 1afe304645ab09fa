"""The picture of a plan: well-formed, complete, safe with hostile names, bounded for large plans."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from accelc.plan.memory_map import MapBuffer, MapStep, MemoryMap
from accelc.plan.picture import memory_svg

SVG = "{http://www.w3.org/2000/svg}"


def plan(name: str = "conv1", kind: str = "conv", count: int = 2) -> MemoryMap:
    steps = tuple(MapStep(kind, (name,)) for _ in range(count))
    buffers = tuple(
        MapBuffer(name, kind, "float32[4]", (name,), i, i, 64 * (i % 2), 64) for i in range(count)
    )
    return MemoryMap(steps, buffers, 128, 64, symbols={"N": 3})


def boxes(root: ET.Element) -> list[ET.Element]:
    return [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "box"]


def test_every_buffer_is_drawn_with_what_it_is() -> None:
    root = ET.fromstring(memory_svg(plan()))
    found = boxes(root)
    assert len(found) == 2
    title = found[1].find(f"{SVG}title")
    assert title is not None
    assert title.text == "conv1\nfloat32[4]\n64 B at 64 B, steps 1 to 1\nconv (conv1)"
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "peak 128 B" in texts
    assert "lower bound 64 B" in texts
    assert any("N=3" in str(text) for text in texts)


def test_later_addresses_are_higher_and_later_steps_further_right() -> None:
    low, high = boxes(ET.fromstring(memory_svg(plan())))
    assert float(str(high.get("y"))) < float(str(low.get("y")))
    assert float(str(high.get("x"))) > float(str(low.get("x")))


def test_names_of_a_model_are_text_only() -> None:
    hostile = '</title><script>alert("x")</script>\x00\x1b[31m' + "y" * 10_000
    text = memory_svg(plan(hostile, hostile), title=hostile)
    ET.fromstring(text)
    assert "<script" not in text
    assert len(text) < 20_000


def test_an_empty_plan_is_an_empty_picture() -> None:
    root = ET.fromstring(memory_svg(MemoryMap((), (), 0, 0)))
    assert boxes(root) == []


def test_many_kinds_share_a_colour() -> None:
    steps = tuple(MapStep(f"k{i}") for i in range(40))
    buffers = tuple(MapBuffer(f"v{i}", f"k{i}", "", (), i, i, 0, 64) for i in range(40))
    text = memory_svg(MemoryMap(steps, buffers, 64, 64))
    assert "28 other kinds" in text
    assert "peak 64 B = lower bound" in text


def test_alive_bytes() -> None:
    buffers = (MapBuffer("a", "k", "", (), 0, 2, 0, 10), MapBuffer("b", "k", "", (), 2, 3, 10, 5))
    assert MemoryMap(tuple(MapStep("k") for _ in range(4)), buffers, 15, 15).alive_bytes() == [10, 10, 15, 5]
