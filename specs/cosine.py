"""Cosine attention: the score is cos(q, k) / tau plus a bias (Liu et al. 2022, Swin v2, eq. 2).

`temperature="learned"` reads `log_scale` (heads), the logarithm of 1 / tau, and holds tau at or
above 0.01 as the authors' code does; `temperature="fixed"` leaves the number `tau` open and holds
it nowhere. A zero vector has cosine 0 with every other.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    exp,
    family,
    let,
    log,
    parameter,
    smaller,
    softmax,
    sqrt,
    tensors,
    total,
)

batch, heads, queries, keys, key_dim, value_dim = axes("batch heads queries keys key_dim value_dim")
b, h, i, j = batch["b"], heads["h"], queries["i"], keys["j"]
k, c = key_dim["k"], value_dim["c"]
Q, K, V, bias, log_scale, M, N, S, A, O = tensors("Q K V bias log_scale M N S A O")
tau = parameter("tau", gt=0, doc="temperature: the cosine is divided by it")


def build(temperature: str, bias_added: bool) -> Spec:
    """Cosine attention with one kind of temperature, with or without a bias input."""
    learned = temperature == "learned"
    sharpness = exp(smaller(log_scale[h], log(100))) if learned else 1 / tau
    dots = total(Q[b, h, i, k] * K[b, h, j, k], over=k)
    score = sharpness * dots / (M[b, h, i] * N[b, h, j])
    return Spec(
        "cosine",
        inputs=[
            Q[b, h, i, k],
            K[b, h, j, k],
            V[b, h, j, c],
            *([log_scale[h]] if learned else []),
            *([bias[h, i, j]] if bias_added else []),
        ],
        equations=[
            let(M[b, h, i], sqrt(total(Q[b, h, i, k] ** 2, over=k))),
            let(N[b, h, j], sqrt(total(K[b, h, j, k] ** 2, over=k))),
            let(S[b, h, i, j], score + bias[h, i, j] if bias_added else score),
            let(A[b, h, i, j], softmax(S[b, h, i, j], over=j)),
            let(O[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
        ],
        outputs=[O],
        parameters=[] if learned else [tau],
    )


spec = family(build, temperature=Choice("learned", "fixed"), bias_added=Choice(False, True))
