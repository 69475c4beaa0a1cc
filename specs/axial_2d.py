"""Axial attention: along each row, then along each column of an image (Ho et al. 2019, section 3).

X is (batch, rows, columns, model). A pass is multi-head attention with weights of its own, whose
softmax runs over one image axis while the other is a batch axis. `order="columns_rows"` begins with
columns. Norms and residuals belong to the block.
"""

from attnverify.notation import (
    Choice,
    Equation,
    Index,
    Spec,
    Tensor,
    axes,
    family,
    let,
    softmax,
    sqrt,
    tensors,
    total,
)

batch, heads, rows, columns, key_dim, value_dim, model = axes(
    "batch heads rows columns key_dim value_dim model"
)
b, h, y, x, u, w = batch["b"], heads["h"], rows["y"], columns["x"], rows["u"], columns["w"]
k, c, e = key_dim["k"], value_dim["c"], model["e"]
X, Y, O = tensors("X Y O")
WEIGHTS = [tensors(f"W_Q{n} W_K{n} W_V{n} W_O{n}") for n in (1, 2)]


def attend(n: int, source: Tensor, to: tuple[Index, Index], out: Tensor) -> list[Equation]:
    """Pass number n: pixel (y, x) sees the pixels `to`, which share its row or its column."""
    W_Q, W_K, W_V, W_O = WEIGHTS[n]
    Q, K, V, S, A, U = tensors(" ".join(f"{letter}_{n + 1}" for letter in "QKVSAU"))
    seen = to[1] if to[0] == y else to[0]
    score = total(Q[b, h, y, x, k] * K[b, h, *to, k], over=k) / sqrt(key_dim.size)
    joined = total(U[b, h, y, x, c] * W_O[h, c, e], over=[h, c])
    return [
        let(Q[b, h, y, x, k], total(source[b, y, x, e] * W_Q[e, h, k], over=e)),
        let(K[b, h, y, x, k], total(source[b, y, x, e] * W_K[e, h, k], over=e)),
        let(V[b, h, y, x, c], total(source[b, y, x, e] * W_V[e, h, c], over=e)),
        let(S[b, h, y, x, seen], score),
        let(A[b, h, y, x, seen], softmax(S[b, h, y, x, seen], over=seen)),
        let(U[b, h, y, x, c], total(A[b, h, y, x, seen] * V[b, h, *to, c], over=seen)),
        let(out[b, y, x, e], joined),
    ]


def build(order: str) -> Spec:
    """The two passes in one order."""
    first, second = ((y, w), (u, x)) if order == "rows_columns" else ((u, x), (y, w))
    weights = [
        entry
        for W_Q, W_K, W_V, W_O in WEIGHTS
        for entry in (W_Q[e, h, k], W_K[e, h, k], W_V[e, h, c], W_O[h, c, e])
    ]
    return Spec(
        "axial_2d",
        inputs=[X[b, y, x, e], *weights],
        equations=[*attend(0, X, first, Y), *attend(1, Y, second, O)],
        outputs=[O],
    )


spec = family(build, order=Choice("rows_columns", "columns_rows"))
