"""Ifs of a known condition."""

from accelc.passes.inline_if import InlineIf
from accelc.testing import assert_rewrites

IF = """g (float[2] x, bool d) => (float[2] y, float[2] z) <bool c = {%s}> {
    a = Exp(x)
    y, z = If (%s) <
        then_branch = t () => (float[2] u, float[2] v) <float[1] w = {3.0}> { u = Mul(a, w) v = Identity(a) },
        else_branch = e () => (float[2] u2, float[2] v2) { u2 = Neg(x) v2 = Abs(u2) }> }"""


def test_takes_the_then_branch() -> None:
    assert_rewrites(
        InlineIf(),
        before=IF % ("1", "c"),
        after="g (float[2] x, bool d) => (float[2] y, float[2] z) <bool c = {1}, float[1] w = {3.0}> "
        "{ a = Exp(x) y = Mul(a, w) z = Identity(a) }",
    )


def test_takes_the_else_branch() -> None:
    assert_rewrites(
        InlineIf(),
        before=IF % ("0", "c"),
        after="g (float[2] x, bool d) => (float[2] y, float[2] z) <bool c = {0}> "
        "{ a = Exp(x) y = Neg(x) z = Abs(y) }",
    )


def test_leaves_a_condition_that_depends_on_data() -> None:
    assert_rewrites(InlineIf(), before=IF % ("1", "d"), after=IF % ("1", "d"))


def test_nested_ifs_that_return_outer_values() -> None:
    assert_rewrites(
        InlineIf(),
        before="""g (float[2] x) => (float[2] y) <bool c = {1}> {
            y = If (c) <then_branch = t () => (float[2] u) {
                u = If (c) <then_branch = t2 () => (float[2] q) { q = Neg(x) },
                            else_branch = e2 () => (float[2] r) { r = Abs(x) }> },
            else_branch = e () => (float[2] v) { v = Exp(x) }> }""",
        after="g (float[2] x) => (float[2] y) <bool c = {1}> { y = Neg(x) }",
    )
