"""Classes by name: tables, installed packages, aliases, near matches."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

import accelc.registry
from accelc.errors import UsageError
from accelc.ir.pass_base import IrPass, Pass
from accelc.registry import Registry


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry[Pass]:
    points = [
        EntryPoint("theirs", "accelc.ir.pass_base:IrPass", "some.passes"),
        EntryPoint("ours", "accelc.ir.pass_base:Pass", "some.passes"),
        EntryPoint("gone", "accelc.no_such_module:Thing", "some.passes"),
        EntryPoint("other", "accelc.ir.pass_base:Rewrite", "some.passes"),
    ]
    monkeypatch.setattr(accelc.registry, "entry_points", lambda *, group: points)
    table = {"ours": "accelc.ir.pass_base:IrPass"}
    return Registry("pass", Pass, "accelc.Pass", table, "some.passes", {"alias": "ours"})  # type: ignore[type-abstract]


def test_the_table_wins_over_installed_packages_and_aliases_lead_to_it(registry: Registry[Pass]) -> None:
    assert registry.load("ours") is registry.load("alias") is registry.load("theirs") is IrPass
    assert registry.names() == ("gone", "other", "ours", "theirs")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("alais", "UsageError: there is no pass 'alais'\n  fix    did you mean alias? see `accelc passes`"),
        ("zzz", "UsageError: there is no pass 'zzz'\n  fix    see `accelc passes`"),
        (
            "gone",
            "UsageError: pass gone cannot be loaded\n  where  accelc.no_such_module:Thing\n"
            "  why    ModuleNotFoundError(\"No module named 'accelc.no_such_module'\")",
        ),
        ("other", "UsageError: other is not a pass\n  why    it must be a subclass of accelc.Pass"),
    ],
)
def test_what_cannot_be_had(registry: Registry[Pass], name: str, text: str) -> None:
    with pytest.raises(UsageError) as raised:
        registry.load(name)
    assert str(raised.value) == text
