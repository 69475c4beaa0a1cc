"""Encoder and decoder networks joined by one vector (Sutskever et al. 2014, section 2).

The encoder h_j = sigma(W_E x_j + U_E h_{j-1}) reads the source X (batch, keys, model); its last
state starts the decoder, which reads the previous target symbols Y (batch, time, embedding) and
shows o_t = C s_t. Cells are the standard ones of the paper's equations, in place of its LSTMs.
`source="reversed"` reads the source from its end, as the paper does (section 3.3).
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    eq,
    family,
    let,
    logistic,
    previous,
    recur,
    tensors,
    total,
    where,
)

batch, keys, time, model, embedding, hidden, value_dim = axes(
    "batch keys time model embedding hidden value_dim"
)
b, j, t, c = batch["b"], keys["j"], time["t"], value_dim["c"]
e, m, d, g = model["e"], embedding["m"], hidden["d"], hidden["g"]
X, Y, W_E, U_E, W_D, U_D, C, H, S, O = tensors("X Y W_E U_E W_D U_D C H S O")


def build(source: str) -> Spec:
    """The pair of networks, the source read forwards or backwards."""
    reverse = source == "reversed"
    last = 0 if reverse else keys.size - 1
    read = total(W_E[d, e] * X[b, j, e], over=e)
    heard = total(W_D[d, m] * Y[b, t, m], over=m)
    kept = total(U_E[d, g] * previous(H[b, j, g]), over=g)
    told = total(U_D[d, g] * previous(S[b, t, g]), over=g)
    return Spec(
        "seq2seq",
        inputs=[X[b, j, e], Y[b, t, m], W_E[d, e], U_E[d, g], W_D[d, m], U_D[d, g], C[c, d]],
        equations=[
            recur(
                along=j,
                initial={H: 0},
                steps=[let(H[b, j, d], logistic(read + kept))],
                reverse=reverse,
            ),
            recur(
                along=t,
                initial={S: total(where(eq(j, last)) * H[b, j, d], over=j)},
                steps=[let(S[b, t, d], logistic(heard + told))],
            ),
            let(O[b, t, c], total(C[c, d] * S[b, t, d], over=d)),
        ],
        outputs=[O],
        announces={"permutation equivariance": "recurrences run along both sequences"},
    )


spec = family(build, source=Choice("forward", "reversed"))
