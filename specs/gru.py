"""Gated recurrent unit: h_t = z h_{t-1} + (1 - z) n (Cho et al. 2014, eqs. 5 to 8).

`reset="before"` gates the state before the recurrent product, U_n (r h), as Cho et al.; `"after"`
gates the product with its own bias c_n, r (U_n h + c_n), as cuDNN, torch.nn.GRU and Keras 3.
The paper leaves biases out; torch's two biases of r and of z enter as their sums.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    family,
    let,
    logistic,
    previous,
    recur,
    tanh,
    tensors,
    total,
)

batch, time, model, hidden = axes("batch time model hidden")
b, t, e, d, g = batch["b"], time["t"], model["e"], hidden["d"], hidden["g"]
X, H0, R, Z, N, H = tensors("X H0 R Z N H")
W_r, W_z, W_n, U_r, U_z, U_n, b_r, b_z, b_n, c_n = tensors(
    "W_r W_z W_n U_r U_z U_n b_r b_z b_n c_n"
)
before = previous(H[b, t, g])


def build(reset: str) -> Spec:
    """The unit with its reset gate before or after the recurrent product."""
    read = {w: total(w[d, e] * X[b, t, e], over=e) for w in (W_r, W_z, W_n)}
    if reset == "before":
        recurrent = total(U_n[d, g] * R[b, t, g] * before, over=g)
    else:
        recurrent = R[b, t, d] * (total(U_n[d, g] * before, over=g) + c_n[d])
    gate = Z[b, t, d]
    return Spec(
        "gru",
        inputs=[
            X[b, t, e],
            H0[b, d],
            *(w[d, e] for w in (W_r, W_z, W_n)),
            *(u[d, g] for u in (U_r, U_z, U_n)),
            *(v[d] for v in (b_r, b_z, b_n)),
            *([c_n[d]] if reset == "after" else []),
        ],
        equations=[
            recur(
                along=t,
                initial={H: H0[b, d]},
                steps=[
                    let(
                        R[b, t, d],
                        logistic(read[W_r] + total(U_r[d, g] * before, over=g) + b_r[d]),
                    ),
                    let(gate, logistic(read[W_z] + total(U_z[d, g] * before, over=g) + b_z[d])),
                    let(N[b, t, d], tanh(read[W_n] + recurrent + b_n[d])),
                    let(H[b, t, d], gate * previous(H[b, t, d]) + (1 - gate) * N[b, t, d]),
                ],
            )
        ],
        outputs=[H],
        announces={"permutation equivariance": "the recurrence runs along the sequence"},
    )


spec = family(build, reset=Choice("before", "after"))
