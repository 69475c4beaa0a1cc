"""Multi-head latent attention with decoupled RoPE (DeepSeek-V2 2024, section 2.1, eqs. 37 to 47).

Keys and values come from one narrow latent C per token, queries from another; a second part of
queries (per head) and keys (shared by heads) carries the position. Its channels are pairs x two
sides (interleaved), rotated by the inputs `cos` and `sin` (time, pairs). The scale is 1 / sqrt of
both widths together. `form="naive"` expands keys and values; `form="absorbed"` moves W_UK to the
queries and W_UV behind the weights, and is equal. The RMS norms of both latents are left out.
"""

from attnverify.notation import (
    Choice,
    Equation,
    Spec,
    axes,
    axis,
    family,
    let,
    ne,
    softmax,
    sqrt,
    tensors,
    total,
    where,
)

batch, heads, time, key_dim, value_dim, model, hidden, narrow, pairs = axes(
    "batch heads time key_dim value_dim model hidden narrow pairs"
)
side = axis("side", size=2)
b, h, i, j = batch["b"], heads["h"], time["i"], time["j"]
k, c, e, l, r = key_dim["k"], value_dim["c"], model["e"], hidden["l"], narrow["r"]
p, s, z = pairs["p"], side["s"], side["z"]
X, cos, sin, W_O = tensors("X cos sin W_O")
W_DQ, W_UQ, W_QR, W_DKV, W_UK, W_UV, W_KR = tensors("W_DQ W_UQ W_QR W_DKV W_UK W_UV W_KR")
C_Q, C, Q, K, V, G, H, Q_R, K_R, Q_L, U_L, S, A, U, O = tensors(
    "C_Q C Q K V G H Q_R K_R Q_L U_L S A U O"
)
root = sqrt(key_dim.size + pairs.size * side.size)
turned = where(ne(z, s)) * (2 * s - 1)
places = total(Q_R[b, h, i, (p, s)] * K_R[b, j, (p, s)], over=[p, s])


def shared() -> list[Equation]:
    """The two latents, the queries and the rotated parts."""
    return [
        let(C_Q[b, i, r], total(X[b, i, e] * W_DQ[e, r], over=e)),
        let(C[b, i, l], total(X[b, i, e] * W_DKV[e, l], over=e)),
        let(Q[b, h, i, k], total(C_Q[b, i, r] * W_UQ[r, h, k], over=r)),
        let(G[b, h, i, (p, s)], total(C_Q[b, i, r] * W_QR[r, h, (p, s)], over=r)),
        let(H[b, i, (p, s)], total(X[b, i, e] * W_KR[e, (p, s)], over=e)),
        let(
            Q_R[b, h, i, (p, s)],
            cos[i, p] * G[b, h, i, (p, s)] + sin[i, p] * total(turned * G[b, h, i, (p, z)], over=z),
        ),
        let(
            K_R[b, i, (p, s)],
            cos[i, p] * H[b, i, (p, s)] + sin[i, p] * total(turned * H[b, i, (p, z)], over=z),
        ),
    ]


def naive() -> list[Equation]:
    """Keys and values of each head, expanded from the latent."""
    dots = total(Q[b, h, i, k] * K[b, h, j, k], over=k)
    return [
        let(K[b, h, j, k], total(C[b, j, l] * W_UK[l, h, k], over=l)),
        let(V[b, h, j, c], total(C[b, j, l] * W_UV[l, h, c], over=l)),
        let(S[b, h, i, j], (dots + places) / root),
        let(A[b, h, i, j], softmax(S[b, h, i, j], over=j, where=j <= i)),
        let(U[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
    ]


def absorbed() -> list[Equation]:
    """Scores and sums over the latent itself."""
    dots = total(Q_L[b, h, i, l] * C[b, j, l], over=l)
    return [
        let(Q_L[b, h, i, l], total(Q[b, h, i, k] * W_UK[l, h, k], over=k)),
        let(S[b, h, i, j], (dots + places) / root),
        let(A[b, h, i, j], softmax(S[b, h, i, j], over=j, where=j <= i)),
        let(U_L[b, h, i, l], total(A[b, h, i, j] * C[b, j, l], over=j)),
        let(U[b, h, i, c], total(U_L[b, h, i, l] * W_UV[l, h, c], over=l)),
    ]


def build(form: str) -> Spec:
    """The layer in one of its two forms."""
    return Spec(
        "latent",
        inputs=[
            X[b, i, e],
            W_DQ[e, r],
            W_UQ[r, h, k],
            W_QR[r, h, (p, s)],
            W_DKV[e, l],
            W_UK[l, h, k],
            W_UV[l, h, c],
            W_KR[e, (p, s)],
            W_O[h, c, e],
            cos[i, p],
            sin[i, p],
        ],
        equations=[
            *shared(),
            *(naive() if form == "naive" else absorbed()),
            let(O[b, i, e], total(U[b, h, i, c] * W_O[h, c, e], over=[h, c])),
        ],
        outputs=[O],
        announces={"permutation equivariance": "the mask orders the positions"},
    )


spec = family(build, form=Choice("naive", "absorbed"))
