from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.recover_attention import RecoverAttention
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

WEIGHTS = {
    "s": "float s = {0.5}",
    "k2": "float k2 = {2}",
    "zero": "float zero = {0}",
    "low": "float low = {-3.4e38}",
    "inf": "float inf",
    "one": "float[1] one = {1}",
    "mild": "float mild = {-100}",
}
INF = {"inf": np.float32(-np.inf)}
Q, K, V, Y = "float[2,3,5,4] q", "float[2,3,7,4] k", "float[2,3,7,6] v", "float[2,3,5,6] y"
HEAD = "kt = Transpose<perm=[0,1,3,2]>(k)  p = MatMul(q, kt)"
PLAIN = f"{HEAD}  z = Mul(p, s)  w = Softmax<axis=-1>(z)  y = MatMul(w, v)"
ADDED = f"{HEAD}  z = Mul(p, s)  u = Add(z, m)  w = Softmax<axis=-1>(u)  y = MatMul(w, v)"


UNSCALED = PLAIN.replace("z = Mul(p, s)  ", "").replace("(z)", "(p)")
FLIPPED = PLAIN.replace("MatMul(w, v)", "MatMul(v, w)")


def graph(body: str, *inputs: str, q: str = Q, k: str = K, v: str = V, y: str = Y, **changed: str) -> str:
    table = {**WEIGHTS, **changed}
    used = [t for n, t in table.items() if any(f"{sep}{n}{end}" in body for sep in "( " for end in ",)")]
    weights = f"<{', '.join(used)}>" if used else ""
    return f"g ({', '.join([q, k, v, *inputs])}) => ({y}) {weights} {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "scale"),
    [
        (PLAIN, 0.5),
        (PLAIN.replace("Mul(p, s)", "Mul(s, p)").replace("<axis=-1>", "<axis=3>"), 0.5),
        (PLAIN.replace("Mul(p, s)", "Div(p, s)"), 2.0),
        (PLAIN.replace("z = Mul(p, s)", "").replace("(z)", "(p)"), 1.0),
        (f"a = Mul(q, s)  {PLAIN}".replace("MatMul(q,", "MatMul(a,"), 0.25),
        (f"b = Div(k, k2)  {PLAIN}".replace("(k)", "(b)"), 0.25),
        (PLAIN.replace("p = MatMul(q, kt)", "b = Mul(kt, k2)  p = MatMul(q, b)"), 1.0),
    ],
)
def test_golden_scales(body: str, scale: float) -> None:
    assert_rewrites(RecoverAttention(), graph(body), graph(f"y = Attention<scale={scale:.2f}>(q, k, v)"))


def test_golden_keys_in_another_order() -> None:
    body = PLAIN.replace("[0,1,3,2]", "[0,2,3,1]")
    after = "k4 = Transpose<perm=[0,2,1,3]>(k)  y = Attention<scale=0.50>(q, k4, v)"
    keys = "float[2,7,3,4] k"
    assert_rewrites(RecoverAttention(), graph(body, k=keys), graph(after, k=keys))


def test_golden_symbolic_shapes() -> None:
    shapes = {
        "q": "float[B,H,S,4] q",
        "k": "float[B,H,T,4] k",
        "v": "float[B,H,T,6] v",
        "y": "float[B,H,S,6] y",
    }
    assert_rewrites(
        RecoverAttention(), graph(PLAIN, **shapes), graph("y = Attention<scale=0.5>(q, k, v)", **shapes)
    )


def test_golden_added_mask_that_is_finite() -> None:
    body = "m = Where(c, zero, low)  " + ADDED
    after = "m = Where(c, zero, low)  y = Attention<scale=0.5>(q, k, v, m)"
    assert_rewrites(RecoverAttention(), graph(body, "bool[5,7] c"), graph(after, "bool[5,7] c"))


def test_golden_mask_of_one_row_is_expanded() -> None:
    body = "m = Where(c, zero, low)  " + ADDED
    after = "m = Where(c, zero, low)  e = Expand(m, n)  y = Attention<scale=0.5>(q, k, v, e)"
    rows = "int64[2] n = {5, 1}"
    assert_rewrites(
        RecoverAttention(), graph(body, "bool[2,1,1,7] c"), graph(after, "bool[2,1,1,7] c", n=rows)
    )


def test_golden_where_becomes_an_added_mask() -> None:
    body = ADDED.replace("Add(z, m)", "Where(c, z, low)")
    after = "m = Where(c, zero, low)  y = Attention<scale=0.5>(q, k, v, m)"
    assert_rewrites(RecoverAttention(), graph(body, "bool[5,7] c"), graph(after, "bool[5,7] c"))


def test_golden_constant_condition_with_infinity() -> None:
    causal = np.tril(np.ones((5, 7), bool))
    body = ADDED.replace("Add(z, m)", "Where(c, z, inf)")
    result = assert_rewrites(
        RecoverAttention(),
        graph(body, c="bool[5,7] c"),
        graph("y = Attention<scale=0.5>(q, k, v, m)", m="float[5,7] m"),
        weights={"c": causal, **INF},
    )
    mask = next(iter(result.graph)).inputs[3]
    assert mask is not None
    assert mask.const_value is not None
    np.testing.assert_array_equal(mask.const_value.numpy(), np.where(causal, 0, -np.inf).astype(np.float32))


def test_golden_in_a_subgraph() -> None:
    text = f"g (bool c, {Q}, {K}, {V}) => ({Y}) %s {{ y = If(c) <then_branch = t () => ({Y[:-1]}a) {{ %s }},"
    text += " else_branch = f () => (float[2,3,5,6] b) { b = Expand(one, n) }> }"
    rest = "<int64[4] n = {2, 3, 5, 6}, float[1] one = {1}%s>"
    before = text % (rest % ", float s = {0.5}", PLAIN.replace("y =", "a ="))
    after = text % (rest % "", "a = Attention<scale=0.5>(q, k, v)")
    assert_rewrites(RecoverAttention(), before, after)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('<ir_version: 10, opset_import: ["" : 22]> ' + graph(PLAIN), "opset 23"),
        (graph(PLAIN + "  x = Neg(w)", y=Y + ", float[2,3,5,7] x"), "also read elsewhere"),
        (graph(PLAIN + "  x = Neg(p)", y=Y + ", float[2,3,5,7] x"), "also read elsewhere"),
        (graph(PLAIN, y=Y + ", float[2,3,5,7] z"), "also read elsewhere"),
        (graph(PLAIN.replace("<axis=-1>", "<axis=2>")), "not over the last"),
        (graph(PLAIN, q="float[1,3,5,4] q"), "batch of q, k and v"),
        (graph(PLAIN, k="float[2,1,7,4] k"), "heads of q, k and v"),
        (graph(PLAIN, s="float s = {-0.5}"), "square root"),
        (graph(PLAIN.replace("<perm=[0,1,3,2]>(k)", "<perm=[0,2,1]>(k)"), k="float[3,7,4] k"), "not 4"),
        (graph(PLAIN.replace("kt = Transpose<perm=[0,1,3,2]>(k)", "kt = Neg(k)"), k="float[2,3,4,7] k"), "transpose"),
        (graph(FLIPPED, v="float[2,3,6,5] v", y="float[2,3,6,7] y"), "left operand"),
        (graph(ADDED, "float[5,7] m"), "-inf along a whole row"),
        (graph(ADDED, "float[7] m"), "rank 1"),
        (graph(ADDED, "float[5,1] m"), "last dim of mask"),
        (graph(ADDED, "float[2,3,5,7] m", q="float[2,3,1,4] q"), "broadcast"),
        (graph(ADDED.replace("Add(z, m)", "Where(c, z, mild)"), "bool[5,7] c"), "which adding cannot do"),
        (graph(UNSCALED).replace("float", "bfloat16"), "not of floats"),
    ],
)  # fmt: skip
def test_refusals(text: str, why: str) -> None:
    assert_refuses(RecoverAttention(), text, why)


def test_refuses_rows_that_infinity_may_close() -> None:
    where = ADDED.replace("Add(z, m)", "Where(c, z, inf)")
    assert_refuses(RecoverAttention(), graph(where, "bool[5,7] c"), "a whole row", weights=INF)
    closed = np.zeros((5, 7), bool)
    assert_refuses(
        RecoverAttention(), graph(where, c="bool[5,7] c"), "a whole row", weights={"c": closed, **INF}
    )
    mask = np.zeros((5, 7), np.float32)
    mask[2] = -np.inf
    assert_refuses(RecoverAttention(), graph(ADDED, m="float[5,7] m"), "a whole row", weights={"m": mask})


def test_masks_can_be_trusted() -> None:
    after = graph("y = Attention<scale=0.5>(q, k, v, m)", "float[5,7] m")
    assert_rewrites(RecoverAttention(trust_masks=True), graph(ADDED, "float[5,7] m"), after)


@settings(max_examples=25, deadline=None)
@given(
    dims=st.tuples(*[st.integers(1, 4)] * 6),
    named=st.booleans(),
    mask=st.sampled_from(["none", "[S,T]", "[B,1,S,T]", "[B,1,1,T]", "[1,H,S,T]", "where"]),
    moved=st.booleans(),
    seed=st.integers(0, 99),
)
def test_meaning(dims: tuple[int, ...], named: bool, mask: str, moved: bool, seed: int) -> None:
    sizes = dict(zip("BHSTDE", dims, strict=True))
    rng = np.random.default_rng(seed)

    def draw(spec: str) -> np.ndarray:
        return rng.standard_normal([sizes[c] if c in sizes else int(c) for c in spec]).astype(np.float32)

    def shape(spec: str) -> str:
        return "[" + ",".join(c if named and c in "BHST" else str(sizes.get(c, c)) for c in spec) + "]"

    feeds = {"q": draw("BHSD"), "k": draw("BTHD" if moved else "BHTD"), "v": draw("BHTE")}
    body = PLAIN if mask == "none" else "m = Where(c, zero, low)  " + ADDED
    if mask == "where":
        body = ADDED.replace("Add(z, m)", "Where(c, z, low)")
    inputs = []
    if mask != "none":
        spec = "ST" if mask == "where" else mask[1:-1].replace(",", "")
        inputs = [f"bool{shape(spec)} c"]
        feeds["c"] = draw(spec) > -0.5
    if moved:
        body = body.replace("[0,1,3,2]", "[0,2,3,1]")
    text = graph(
        body,
        *inputs,
        q=f"float{shape('BHSD')} q",
        k=f"float{shape('BTHD' if moved else 'BHTD')} k",
        v=f"float{shape('BHTE')} v",
        y=f"float{shape('BHSE')} y",
    )
    result = assert_same_meaning(RecoverAttention(), text, feeds)
    assert sum(node.op_type == "Attention" for node in result.graph) == 1
