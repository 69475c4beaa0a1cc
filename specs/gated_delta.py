"""The gated delta rule: decay, then replace what a key recalls (Yang et al. 2025, section 3.1).

g (batch, heads, time) holds log alpha_t, beta (batch, heads, time) the writing strength. The state
is S_t = alpha_t S_{t-1} + k_t u_t^T with u_t = beta_t (v_t - alpha_t S_{t-1}^T k_t), and o_t is
S_t^T q_t. The parallel form is delta_rule's, products of t and s weighed by alpha_{s+1} .. alpha_t.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    eq,
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
Q, K, V, beta, g, alpha, R, D = tensors("Q K V beta g alpha R D")
M, U, Y, O = tensors("M U Y O")


write, state, gate = U[b, h, t, c], M[b, h, t, k, c], alpha[b, h, t]
rows, both = Y[b, h, t, s, c], total(K[b, h, t, k] * K[b, h, s, k], over=k)
weight = D[b, h, t, s] * total(Q[b, h, t, k] * K[b, h, s, k], over=k)
known = total(D[b, h, t, s] * both * previous(rows), over=s)
recalled = gate * total(K[b, h, t, k] * previous(state), over=k)
substitution = [
    let(write, beta[b, h, t] * (V[b, h, t, c] - known)),
    let(rows, previous(rows) + where(eq(s, t)) * write),
]
steps = [
    let(gate, exp(g[b, h, t])),
    let(write, beta[b, h, t] * (V[b, h, t, c] - recalled)),
    let(state, gate * previous(state) + K[b, h, t, k] * write),
]


def build(form: str) -> Spec:
    """The gated delta rule in one of its forms."""
    return Spec(
        "gated_delta",
        inputs=[Q[b, h, t, k], K[b, h, t, k], V[b, h, t, c], beta[b, h, t], g[b, h, t]],
        equations=[
            let(R[b, h, t], running_total(g[b, h, l], along=l, upto=t)),
            let(D[b, h, t, s], where(s <= t) * exp(R[b, h, t] - R[b, h, s])),
            recur(along=t, initial={Y: 0}, steps=substitution),
            let(O[b, h, t, c], total(weight * U[b, h, s, c], over=s)),
        ]
        if form == "parallel"
        else [
            recur(along=t, initial={M: 0}, steps=steps),
            let(O[b, h, t, c], total(Q[b, h, t, k] * state, over=k)),
        ],
        outputs=[O],
        announces={"permutation equivariance": "a write depends on the writes before it"},
    )


spec = family(build, form=Choice("parallel", "recurrent"))
