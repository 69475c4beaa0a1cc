"""Gated linear attention: a data-dependent decay per key channel (Yang et al. 2024, section 4).

g (batch, heads, time, key_dim) holds the logarithms of the gates alpha in (0, 1), as kernels take
them. The state is S_t = Diag(alpha_t) S_{t-1} + k_t v_t^T and o_t = S_t^T q_t; the parallel form
weighs key j at i by sum_k q_ik k_jk alpha_{j+1,k} .. alpha_{i,k} for j <= i. ONNX calls it gated.
Libraries multiply q by 1/sqrt(d) unless told otherwise; the low-rank map to the gates is outside.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    exp,
    family,
    let,
    previous,
    recur,
    running_total,
    tensors,
    total,
    where,
)

batch, heads, time, key_dim, value_dim = axes("batch heads time key_dim value_dim")
b, h, t, s, l = batch["b"], heads["h"], time["t"], time["s"], time["l"]
k, c = key_dim["k"], value_dim["c"]
Q, K, V, g, alpha, R, W, M, O = tensors("Q K V g alpha R W M O")


state, gate, read = M[b, h, t, k, c], alpha[b, h, t, k], K[b, h, t, k] * V[b, h, t, c]
kept = exp(R[b, h, t, k] - R[b, h, s, k])
weight = where(s <= t) * total(Q[b, h, t, k] * K[b, h, s, k] * kept, over=k)
steps = [let(gate, exp(g[b, h, t, k])), let(state, gate * previous(state) + read)]


def build(form: str) -> Spec:
    """Gated linear attention in one of its forms."""
    return Spec(
        "gated_linear",
        inputs=[Q[b, h, t, k], K[b, h, t, k], V[b, h, t, c], g[b, h, t, k]],
        equations=[
            let(R[b, h, t, k], running_total(g[b, h, l, k], along=l, upto=t)),
            let(W[b, h, t, s], weight),
            let(O[b, h, t, c], total(W[b, h, t, s] * V[b, h, s, c], over=s)),
        ]
        if form == "parallel"
        else [
            recur(along=t, initial={M: 0}, steps=steps),
            let(O[b, h, t, c], total(Q[b, h, t, k] * state, over=k)),
        ],
        outputs=[O],
        announces={"permutation equivariance": "keys decay with the positions after them"},
    )


spec = family(build, form=Choice("parallel", "recurrent"))
