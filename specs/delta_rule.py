"""The delta rule: a write replaces what the key recalled (Schlag et al. 2021, section 4.2).

beta (batch, heads, time) is the writing strength. The state is S_t = S_{t-1} + k_t u_t^T with
u_t = beta_t (v_t - S_{t-1}^T k_t), and o_t = S_t^T q_t. `form="parallel"` is o = tril(QK^T) U with
(I + tril(Diag(beta) KK^T, -1)) U = Diag(beta) V (Yang et al. 2024, section 3), the triangular
system solved by forward substitution. Feature maps, norms and the scale of q and k are outside.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    eq,
    family,
    let,
    previous,
    recur,
    tensors,
    total,
    where,
)

batch, heads, time, key_dim, value_dim = axes("batch heads time key_dim value_dim")
b, h, t, s, l = batch["b"], heads["h"], time["t"], time["s"], time["l"]
k, c = key_dim["k"], value_dim["c"]
Q, K, V, beta, M, U, Y, O = tensors("Q K V beta M U Y O")


def build(form: str) -> Spec:
    """The delta rule in one of its forms."""
    write, state = U[b, h, t, c], M[b, h, t, k, c]
    if form == "parallel":
        both = total(K[b, h, t, k] * K[b, h, s, k], over=k)
        recalled = total(both * previous(Y[b, h, t, s, c]), over=s)
        rows = let(Y[b, h, t, s, c], previous(Y[b, h, t, s, c]) + where(eq(s, t)) * write)
        weight = total(Q[b, h, t, k] * K[b, h, s, k], over=k)
        read = total(where(s <= t) * weight * U[b, h, s, c], over=s)
        initial, steps = {Y: 0}, [rows]
    else:
        recalled = total(K[b, h, t, k] * previous(state), over=k)
        initial, steps = {M: 0}, [let(state, previous(state) + K[b, h, t, k] * write)]
        read = total(Q[b, h, t, k] * state, over=k)
    return Spec(
        "delta_rule",
        inputs=[Q[b, h, t, k], K[b, h, t, k], V[b, h, t, c], beta[b, h, t]],
        equations=[
            recur(
                along=t,
                initial=initial,
                steps=[let(write, beta[b, h, t] * (V[b, h, t, c] - recalled)), *steps],
            ),
            let(O[b, h, t, c], read),
        ],
        outputs=[O],
        announces={"permutation equivariance": "a write depends on the writes before it"},
    )


spec = family(build, form=Choice("parallel", "recurrent"))
