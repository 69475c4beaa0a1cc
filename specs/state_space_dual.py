"""State space duality: one scalar decay per head and step (Mamba-2; Dao and Gu 2024, eqs. 2, 3).

The paper's C, B, X are Q, K, V here, and g (batch, heads, time) holds log a_t. The recurrence is
h_t = a_t h_{t-1} + k_t v_t^T, o_t = h_t^T q_t; the dual form is (L . QK^T) V with the
1-semiseparable mask L_ts = a_t .. a_{s+1} for s <= t. The step size (in V and g), the skip D and
the norm are outside.
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


state, gate, read = M[b, h, t, k, c], alpha[b, h, t], K[b, h, t, k] * V[b, h, t, c]
kept = where(s <= t) * exp(R[b, h, t] - R[b, h, s])
steps = [let(gate, exp(g[b, h, t])), let(state, gate * previous(state) + read)]


def build(form: str) -> Spec:
    """The state space layer as a recurrence, or as masked attention."""
    return Spec(
        "state_space_dual",
        inputs=[Q[b, h, t, k], K[b, h, t, k], V[b, h, t, c], g[b, h, t]],
        equations=[
            let(R[b, h, t], running_total(g[b, h, l], along=l, upto=t)),
            let(W[b, h, t, s], kept * total(Q[b, h, t, k] * K[b, h, s, k], over=k)),
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
