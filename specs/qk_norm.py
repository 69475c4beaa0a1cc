"""Query-key normalisation: the score is g cos(q, k) (Henry et al. 2020, eq. 4).

`norm="l2"` divides q and k by their length and reads one learned number `g`; a zero vector stays
0. `norm="rms"` divides by the root mean square (`eps` inside the root), multiplies by gains g_Q and
g_K per channel and scales by 1 / sqrt(d), as later language models do (Zhang and Sennrich 2019).
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    family,
    let,
    parameter,
    softmax,
    sqrt,
    tensors,
    total,
)

batch, heads, queries, keys, key_dim, value_dim = axes("batch heads queries keys key_dim value_dim")
b, h, i, j = batch["b"], heads["h"], queries["i"], keys["j"]
k, l, c = key_dim["k"], key_dim["l"], value_dim["c"]
Q, K, V, g, g_Q, g_K = tensors("Q K V g g_Q g_K")
M, N, S, A, O = tensors("M N S A O")
eps = parameter("eps", gt=0, default=1e-6, doc="added to the mean square under the root")


def build(norm: str) -> Spec:
    """Attention of normalised queries and keys."""
    rms = norm == "rms"
    query, key = total(Q[b, h, i, l] ** 2, over=l), total(K[b, h, j, l] ** 2, over=l)
    if rms:
        query, key = query / key_dim.size + eps, key / key_dim.size + eps
    gain = g_Q[k] * g_K[k] / sqrt(key_dim.size) if rms else 1
    dots = total(M[b, h, i, k] * N[b, h, j, k] * gain, over=k)
    return Spec(
        "qk_norm",
        inputs=[
            Q[b, h, i, k],
            K[b, h, j, k],
            V[b, h, j, c],
            *([g_Q[k], g_K[k]] if rms else [g[h]]),
        ],
        equations=[
            let(M[b, h, i, k], Q[b, h, i, k] / sqrt(query)),
            let(N[b, h, j, k], K[b, h, j, k] / sqrt(key)),
            let(S[b, h, i, j], dots if rms else g[h] * dots),
            let(A[b, h, i, j], softmax(S[b, h, i, j], over=j)),
            let(O[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
        ],
        outputs=[O],
        parameters=[eps] if rms else [],
    )


spec = family(build, norm=Choice("l2", "rms"))
