"""Long short-term memory: c_t = f c_{t-1} + i g, h_t = o tanh(c_t) (Hochreiter, Schmidhuber 1997).

`forget=True` has the forget gate f of Gers et al. (2000) and tanh for both squashing functions, as
torch.nn.LSTM, whose two biases enter as their sum. `forget=False` is the cell of 1997: f = 1, and
the squashing functions are 4 sigma(x) - 2 for g and 2 sigma(c) - 1 for the output.
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
X, H0, C0, H, C = tensors("X H0 C0 H C")
W_i, W_f, W_g, W_o, U_i, U_f, U_g, U_o = tensors("W_i W_f W_g W_o U_i U_f U_g U_o")
b_i, b_f, b_g, b_o, I, F, G, R = tensors("b_i b_f b_g b_o I F G R")


def build(forget: bool) -> Spec:
    """The cell with a forget gate, or as it was in 1997."""
    rows = [(I, W_i, U_i, b_i), (G, W_g, U_g, b_g), (R, W_o, U_o, b_o)]
    rows = [rows[0], (F, W_f, U_f, b_f), *rows[1:]] if forget else rows
    steps = []
    for gate, w, u, bias in rows:
        drive = total(w[d, e] * X[b, t, e], over=e) + bias[d]
        drive = drive + total(u[d, g] * previous(H[b, t, g]), over=g)
        value = 4 * logistic(drive) - 2 if gate == G else logistic(drive)
        steps.append(let(gate[b, t, d], tanh(drive) if forget and gate == G else value))
    kept = previous(C[b, t, d]) * F[b, t, d] if forget else previous(C[b, t, d])
    shown = tanh(C[b, t, d]) if forget else 2 * logistic(C[b, t, d]) - 1
    steps.append(let(C[b, t, d], kept + I[b, t, d] * G[b, t, d]))
    steps.append(let(H[b, t, d], R[b, t, d] * shown))
    return Spec(
        "lstm",
        inputs=[
            X[b, t, e],
            H0[b, d],
            C0[b, d],
            *(w[d, e] for _, w, _, _ in rows),
            *(u[d, g] for _, _, u, _ in rows),
            *(bias[d] for _, _, _, bias in rows),
        ],
        equations=[recur(along=t, initial={H: H0[b, d], C: C0[b, d]}, steps=steps)],
        outputs=[H],
        announces={"permutation equivariance": "the recurrence runs along the sequence"},
    )


spec = family(build, forget=Choice(True, False))
