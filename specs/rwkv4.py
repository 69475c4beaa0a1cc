"""RWKV-4: each channel averages values with decay w, and bonus u for the last (Peng et al. 2023).

wkv_t = (sum_{i<t} e^{-(t-1-i) w + k_i} v_i + e^{u + k_t} v_t) / (the same sum without v) (eq. 16).
K, V (batch, time, value_dim), w >= 0 and u (value_dim). `form="parallel"` is that sum as a softmax
over i <= t, `"recurrent"` carries numerator and denominator. Token shift, the receptance gate
sigma(r) and the projections are outside.
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
    softmax,
    tensors,
    total,
    where,
)

batch, time, value_dim = axes("batch time value_dim")
b, t, s, c = batch["b"], time["t"], time["s"], value_dim["c"]
K, V, w, u, S, A, M, N, E, B, O = tensors("K V w u S A M N E B O")


gained = where(eq(s, t), u[c], (s + 1 - t) * w[c])
parallel = [
    let(S[b, t, s, c], K[b, s, c] + gained),
    let(A[b, t, s, c], softmax(S[b, t, s, c], over=s, where=s <= t)),
    let(O[b, t, c], total(A[b, t, s, c] * V[b, s, c], over=s)),
]

kept, grown, bonus = exp(-w[c]), E[b, t, c], B[b, t, c]
num, den = previous(M[b, t, c]), previous(N[b, t, c])
recurrent = [
    recur(
        along=t,
        initial={M: 0, N: 0},
        steps=[
            let(grown, exp(K[b, t, c])),
            let(bonus, exp(u[c] + K[b, t, c])),
            let(O[b, t, c], (num + bonus * V[b, t, c]) / (den + bonus)),
            let(M[b, t, c], kept * num + grown * V[b, t, c]),
            let(N[b, t, c], kept * den + grown),
        ],
    )
]


def build(form: str) -> Spec:
    """WKV in one of its forms."""
    return Spec(
        "rwkv4",
        inputs=[K[b, t, c], V[b, t, c], w[c], u[c]],
        equations=parallel if form == "parallel" else recurrent,
        outputs=[O],
        announces={"permutation equivariance": "keys decay with their distance"},
    )


spec = family(build, form=Choice("parallel", "recurrent"))
