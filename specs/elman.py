"""A simple recurrent network: h_t = f(W x_t + U h_{t-1} + b) (Elman 1990, figure 2).

X (batch, time, model) drives hidden units H, which start at H0. Elman's units are logistic;
`activation="tanh"` and `"relu"` are those of torch.nn.RNN, whose two biases enter as their sum.
Elman's output layer is left out: H is what torch.nn.RNN returns.
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
    relu,
    tanh,
    tensors,
    total,
)

batch, time, model, hidden = axes("batch time model hidden")
b, t, e, d, g = batch["b"], time["t"], model["e"], hidden["d"], hidden["g"]
X, H0, W, U, bias, H = tensors("X H0 W U bias H")

ACTIVATIONS = {"logistic": logistic, "tanh": tanh, "relu": relu}


def build(activation: str) -> Spec:
    """The network with one activation function."""
    drive = total(W[d, e] * X[b, t, e], over=e) + total(U[d, g] * previous(H[b, t, g]), over=g)
    return Spec(
        "elman",
        inputs=[X[b, t, e], H0[b, d], W[d, e], U[d, g], bias[d]],
        equations=[
            recur(
                along=t,
                initial={H: H0[b, d]},
                steps=[let(H[b, t, d], ACTIVATIONS[activation](drive + bias[d]))],
            )
        ],
        outputs=[H],
        announces={"permutation equivariance": "the recurrence runs along the sequence"},
    )


spec = family(build, activation=Choice("logistic", "tanh", "relu"))
