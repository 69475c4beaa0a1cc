"""The Transformer's decoder block (Vaswani et al. 2017, sections 3.1 to 3.3).

Causal self-attention, cross-attention and an MLP follow each other, with residual and layer norm.
`norm="post"` is LN(x + f(x)), `norm="pre"` is x + f(LN(x)) (Xiong et al. 2020, table 1; the norm
after the last block is not part of it). M (batch, keys, model) is the encoder's output. The MLP is
max(0, x W_1 + b_1) W_2 + b_2; projections have no biases.
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

batch, heads, time, keys, key_dim, value_dim, model, hidden = axes(
    "batch heads time keys key_dim value_dim model hidden"
)
b, h, i, t, j = batch["b"], heads["h"], time["i"], time["t"], keys["j"]
k, c, e, f, l = key_dim["k"], value_dim["c"], model["e"], model["f"], hidden["l"]
X, M, W_1, b_1, W_2, b_2, F, O = tensors("X M W_1 b_1 W_2 b_2 F O")
Y, Z, T = tensors("Y Z T")
C, N = tensors("C_1 C_2 C_3"), tensors("N_1 N_2 N_3")
gain, shift = tensors("g_1 g_2 g_3"), tensors("s_1 s_2 s_3")
OWN = tensors("W_Q W_K W_V W_O Q K V S A U")
CROSS = tensors("W_CQ W_CK W_CV W_CO Q_C K_C V_C S_C A_C U_C")
eps = parameter("eps", gt=0, default=1e-5, doc="added to the variance under the root")


def norm_of(n: int, x: Tensor, out: Tensor) -> list[Equation]:
    """Layer norm number n of x: centred, then scaled."""
    spread = sqrt(total(C[n][b, i, f] ** 2, over=f) / model.size + eps)
    return [
        let(C[n][b, i, e], x[b, i, e] - total(x[b, i, f], over=f) / model.size),
        let(out[b, i, e], gain[n][e] * C[n][b, i, e] / spread + shift[n][e]),
    ]


def attend(x: Tensor, source: Tensor, at: Index, rest: Tensor, out: Tensor) -> list[Equation]:
    """Multi-head attention from x to the source at `at`, causal along time, added to `rest`."""
    W_Q, W_K, W_V, W_O, Q, K, V, S, A, U = OWN if at == t else CROSS
    score = total(Q[b, h, i, k] * K[b, h, at, k], over=k) / sqrt(key_dim.size)
    score_at = S[b, h, i, at]
    weights = softmax(score_at, at, at <= i) if at == t else softmax(score_at, at)
    return [
        let(Q[b, h, i, k], total(x[b, i, e] * W_Q[e, h, k], over=e)),
        let(K[b, h, at, k], total(source[b, at, e] * W_K[e, h, k], over=e)),
        let(V[b, h, at, c], total(source[b, at, e] * W_V[e, h, c], over=e)),
        let(score_at, score),
        let(A[b, h, i, at], weights),
        let(U[b, h, i, c], total(A[b, h, i, at] * V[b, h, at, c], over=at)),
        let(out[b, i, e], rest[b, i, e] + total(U[b, h, i, c] * W_O[h, c, e], over=[h, c])),
    ]


def feed(x: Tensor, rest: Tensor, out: Tensor) -> list[Equation]:
    """The MLP of x, added to `rest`."""
    return [
        let(F[b, i, l], relu(total(x[b, i, e] * W_1[e, l], over=e) + b_1[l])),
        let(out[b, i, e], rest[b, i, e] + total(F[b, i, l] * W_2[l, e], over=l) + b_2[e]),
    ]


def post() -> list[Equation]:
    """Each part's norm after its residual."""
    return [
        *attend(X, X, t, X, Y),
        *norm_of(0, Y, N[0]),
        *attend(N[0], M, j, N[0], Z),
        *norm_of(1, Z, N[1]),
        *feed(N[1], N[1], T),
        *norm_of(2, T, O),
    ]


def pre() -> list[Equation]:
    """Each part's norm before it, within its residual."""
    return [
        *norm_of(0, X, N[0]),
        *attend(N[0], N[0], t, X, Y),
        *norm_of(1, Y, N[1]),
        *attend(N[1], M, j, Y, Z),
        *norm_of(2, Z, N[2]),
        *feed(N[2], Z, O),
    ]


def build(norm: str) -> Spec:
    """The block with layer norm after or before each part."""
    widths = [(W[e, h, k], W_K[e, h, k], W_V[e, h, c], W_O[h, c, e])
              for W, W_K, W_V, W_O in (OWN[:4], CROSS[:4])]  # fmt: skip
    norms = [entry for n in range(3) for entry in (gain[n][e], shift[n][e])]
    return Spec(
        "decoder_block",
        inputs=[
            X[b, i, e],
            M[b, j, e],
            *widths[0],
            *widths[1],
            W_1[e, l],
            b_1[l],
            W_2[l, e],
            b_2[e],
            *norms,
        ],
        equations=post() if norm == "post" else pre(),
        outputs=[O],
        parameters=[eps],
        announces={"permutation equivariance": "the mask orders the target's positions"},
    )


spec = family(build, norm=Choice("post", "pre"))
