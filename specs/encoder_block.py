"""The Transformer's encoder block: self-attention and an MLP, each with residual and layer norm.

`norm="post"` is LN(x + f(x)) (Vaswani et al. 2017, sections 3.1 to 3.3), `norm="pre"` is
x + f(LN(x)) (Xiong et al. 2020, table 1; the norm after the last block is not part of it). The MLP
is max(0, x W_1 + b_1) W_2 + b_2 (Vaswani eq. 2); projections have no biases.
"""

from attnverify.notation import (
    Choice,
    Equation,
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

batch, heads, time, key_dim, value_dim, model, hidden = axes(
    "batch heads time key_dim value_dim model hidden"
)
b, h, i, j = batch["b"], heads["h"], time["i"], time["j"]
k, c, e, f, l = key_dim["k"], value_dim["c"], model["e"], model["f"], hidden["l"]
X, W_Q, W_K, W_V, W_O, W_1, b_1, W_2, b_2 = tensors("X W_Q W_K W_V W_O W_1 b_1 W_2 b_2")
g_1, s_1, g_2, s_2 = tensors("g_1 s_1 g_2 s_2")
C_1, N_1, C_2, N_2, Q, K, V, S, A, U, Y, F, Z, O = tensors("C_1 N_1 C_2 N_2 Q K V S A U Y F Z O")
eps = parameter("eps", gt=0, default=1e-5, doc="added to the variance under the root")


def centred(C: Tensor, x: Tensor) -> Equation:
    """X less its mean over the model axis."""
    return let(C[b, i, e], x[b, i, e] - total(x[b, i, f], over=f) / model.size)


def normed(N: Tensor, C: Tensor, gain: Tensor, shift: Tensor) -> Equation:
    """Layer norm of what is centred."""
    spread = sqrt(total(C[b, i, f] ** 2, over=f) / model.size + eps)
    return let(N[b, i, e], gain[e] * C[b, i, e] / spread + shift[e])


def attend(x: Tensor, y: Tensor) -> list[Equation]:
    """Multi-head self-attention of x, added to X."""
    out = total(U[b, h, i, c] * W_O[h, c, e], over=[h, c])
    return [
        let(Q[b, h, i, k], total(x[b, i, e] * W_Q[e, h, k], over=e)),
        let(K[b, h, j, k], total(x[b, j, e] * W_K[e, h, k], over=e)),
        let(V[b, h, j, c], total(x[b, j, e] * W_V[e, h, c], over=e)),
        let(S[b, h, i, j], total(Q[b, h, i, k] * K[b, h, j, k], over=k) / sqrt(key_dim.size)),
        let(A[b, h, i, j], softmax(S[b, h, i, j], over=j)),
        let(U[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
        let(y[b, i, e], X[b, i, e] + out),
    ]


def feed(x: Tensor, y: Tensor, z: Tensor) -> list[Equation]:
    """The MLP of x, added to y."""
    return [
        let(F[b, i, l], relu(total(x[b, i, e] * W_1[e, l], over=e) + b_1[l])),
        let(z[b, i, e], y[b, i, e] + total(F[b, i, l] * W_2[l, e], over=l) + b_2[e]),
    ]


def build(norm: str) -> Spec:
    """The block with layer norm after or before each part."""
    if norm == "post":
        equations = [*attend(X, Y), centred(C_1, Y), normed(N_1, C_1, g_1, s_1)]
        equations += [*feed(N_1, N_1, Z), centred(C_2, Z), normed(O, C_2, g_2, s_2)]
    else:
        equations = [centred(C_1, X), normed(N_1, C_1, g_1, s_1), *attend(N_1, Y)]
        equations += [centred(C_2, Y), normed(N_2, C_2, g_2, s_2), *feed(N_2, Y, O)]
    return Spec(
        "encoder_block",
        inputs=[
            X[b, i, e],
            W_Q[e, h, k],
            W_K[e, h, k],
            W_V[e, h, c],
            W_O[h, c, e],
            W_1[e, l],
            b_1[l],
            W_2[l, e],
            b_2[e],
            g_1[e],
            s_1[e],
            g_2[e],
            s_2[e],
        ],
        equations=equations,
        outputs=[O],
        parameters=[eps],
    )


spec = family(build, norm=Choice("post", "pre"))
