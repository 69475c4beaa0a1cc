"""Linear attention with feature map elu(x) + 1 (Katharopoulos et al. 2020, eqs. 5 to 12, 16 to 20).

`form="parallel"` weighs keys by phi(q).phi(k); `form="recurrent"` carries the running sums of
phi(k) v and phi(k) along the sequence. The two are equal. Causal attention has one axis for queries
and keys.
"""

from attnverify.notation import (
    Choice,
    ParameterError,
    Spec,
    axes,
    elu_plus_one,
    family,
    let,
    previous,
    recur,
    tensors,
    total,
    where,
)

batch, heads, queries, keys, time, key_dim, value_dim = axes(
    "batch heads queries keys time key_dim value_dim"
)
b, h, t, k, c = batch["b"], heads["h"], time["t"], key_dim["k"], value_dim["c"]
Q, K, V, F, G, W, Z, O, M, N = tensors("Q K V F G W Z O M N")


def parallel(causal: bool) -> Spec:
    """The weights W = phi(q).phi(k), masked where causal, over their row sums Z."""
    i, j = (time["i"], time["j"]) if causal else (queries["i"], keys["j"])
    weight = total(F[b, h, i, k] * G[b, h, j, k], over=k)
    return Spec(
        "linear",
        inputs=[Q[b, h, i, k], K[b, h, j, k], V[b, h, j, c]],
        equations=[
            let(F[b, h, i, k], elu_plus_one(Q[b, h, i, k])),
            let(G[b, h, j, k], elu_plus_one(K[b, h, j, k])),
            let(W[b, h, i, j], where(j <= i) * weight if causal else weight),
            let(Z[b, h, i], total(W[b, h, i, j], over=j)),
            let(O[b, h, i, c], total(W[b, h, i, j] * V[b, h, j, c], over=j) / Z[b, h, i]),
        ],
        outputs=[O],
        announces={"permutation equivariance": "the mask orders the keys"} if causal else {},
    )


def recurrent() -> Spec:
    """Running sums M of phi(k) v and N of phi(k) along time."""
    state, norm = M[b, h, t, k, c], N[b, h, t, k]
    return Spec(
        "linear",
        inputs=[Q[b, h, t, k], K[b, h, t, k], V[b, h, t, c]],
        equations=[
            let(F[b, h, t, k], elu_plus_one(Q[b, h, t, k])),
            let(G[b, h, t, k], elu_plus_one(K[b, h, t, k])),
            recur(
                along=t,
                initial={M: 0, N: 0},
                steps=[
                    let(state, previous(state) + G[b, h, t, k] * V[b, h, t, c]),
                    let(norm, previous(norm) + G[b, h, t, k]),
                ],
            ),
            let(Z[b, h, t], total(F[b, h, t, k] * norm, over=k)),
            let(O[b, h, t, c], total(F[b, h, t, k] * state, over=k) / Z[b, h, t]),
        ],
        outputs=[O],
        announces={"permutation equivariance": "the recurrence runs along the keys"},
    )


def build(causal: bool, form: str) -> Spec:
    """Linear attention, full or causal, in one of its forms."""
    if form == "recurrent" and not causal:
        raise ParameterError(
            "the recurrent form is causal",
            found="causal=False, form='recurrent'",
            due="causal=True",
        )
    return recurrent() if form == "recurrent" else parallel(causal)


spec = family(build, causal=Choice(False, True), form=Choice("parallel", "recurrent"))
