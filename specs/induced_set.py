"""Induced set attention: MAB(X, MAB(I, X)) with few learned points I (Lee et al. 2019, 3.2).

MAB(X, Y) = LN(H + rFF(H)) with H = LN(X + Multihead(X, Y, Y)) (eqs. 6 and 7), the two with weights
of their own; rFF(x) is max(0, x W_F + b_F), one layer as in the authors' code.
`form="attention"` leaves out residuals, norms and rFF: cross-attention twice.
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
    parameter,
    relu,
    softmax,
    sqrt,
    tensors,
    total,
)

batch, heads, time, points, key_dim, value_dim, model = axes(
    "batch heads time points key_dim value_dim model"
)
b, h, t, p = batch["b"], heads["h"], time["t"], points["p"]
k, c, e, f = key_dim["k"], value_dim["c"], model["e"], model["f"]
X, I, H, O = tensors("X I H O")
WEIGHTS = [tensors(f"W_Q{n} W_K{n} W_V{n} W_O{n}") for n in (1, 2)]
BLOCKS = [tensors(f"W_F{n} b_F{n} g_1{n} s_1{n} g_2{n} s_2{n}") for n in (1, 2)]
eps = parameter("eps", gt=0, default=1e-5, doc="added to the variance under the root")


def attend(at: Index, to: Index, x: Tensor, y: Tensor, out: Tensor) -> list[Equation]:
    """Multihead(x, y, y) from positions `at` to positions `to`; I has no batch."""
    n = 0 if x == I else 1
    W_Q, W_K, W_V, W_O = WEIGHTS[n]
    Q, K, V, S, A, U = tensors(" ".join(f"{letter}_{n + 1}" for letter in "QKVSAU"))
    read = x[at, e] if x == I else x[b, at, e]
    query = Q[h, at, k] if x == I else Q[b, h, at, k]
    return [
        let(query, total(read * W_Q[e, h, k], over=e)),
        let(K[b, h, to, k], total(y[b, to, e] * W_K[e, h, k], over=e)),
        let(V[b, h, to, c], total(y[b, to, e] * W_V[e, h, c], over=e)),
        let(S[b, h, at, to], total(query * K[b, h, to, k], over=k) / sqrt(key_dim.size)),
        let(A[b, h, at, to], softmax(S[b, h, at, to], over=to)),
        let(U[b, h, at, c], total(A[b, h, at, to] * V[b, h, to, c], over=to)),
        let(out[b, at, e], total(U[b, h, at, c] * W_O[h, c, e], over=[h, c])),
    ]


def norm(at: Index, x: Tensor, out: Tensor, names: list[Tensor]) -> list[Equation]:
    """Layer norm of x, centred as C and then scaled."""
    C, gain, shift = names
    spread = sqrt(total(C[b, at, f] ** 2, over=f) / model.size + eps)
    return [
        let(C[b, at, e], x[b, at, e] - total(x[b, at, f], over=f) / model.size),
        let(out[b, at, e], gain[e] * C[b, at, e] / spread + shift[e]),
    ]


def finish(n: int, at: Index, x: Tensor, heads_out: Tensor, out: Tensor) -> list[Equation]:
    """The rest of block n: both residuals, both norms and the row-wise layer."""
    W_F, b_F, g_1, s_1, g_2, s_2 = BLOCKS[n]
    Y, N, Z, C, D = tensors(" ".join(f"{letter}_{n + 1}" for letter in "YNZCD"))
    read = x[at, e] if x == I else x[b, at, e]
    row = relu(total(N[b, at, f] * W_F[f, e], over=f) + b_F[e])
    return [
        let(Y[b, at, e], read + heads_out[b, at, e]),
        *norm(at, Y, N, [C, g_1, s_1]),
        let(Z[b, at, e], N[b, at, e] + row),
        *norm(at, Z, out, [D, g_2, s_2]),
    ]


def build(form: str) -> Spec:
    """The two blocks, whole or their attention alone."""
    whole = form == "block"
    inputs = [X[b, t, e], I[p, e]]
    for W_Q, W_K, W_V, W_O in WEIGHTS:
        inputs += [W_Q[e, h, k], W_K[e, h, k], W_V[e, h, c], W_O[h, c, e]]
    for W_F, *vectors in BLOCKS if whole else ():
        inputs += [W_F[f, e], *(vector[e] for vector in vectors)]
    first, second = tensors("M_1 M_2") if whole else (H, O)
    equations = attend(p, t, I, X, first) + (finish(0, p, I, first, H) if whole else [])
    equations += attend(t, p, X, H, second) + (finish(1, t, X, second, O) if whole else [])
    return Spec(
        "induced_set",
        inputs=inputs,
        equations=equations,
        outputs=[O],
        parameters=[eps] if whole else [],
    )


spec = family(build, form=Choice("block", "attention"))
