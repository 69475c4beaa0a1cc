"""Local attention, predictive: a Gaussian about a predicted key (Luong et al. 2015, eqs. 9 and 10).

Row i is centred on P = n_k sigma(v . tanh(W_p q)), a real number; its softmax B runs over keys from
P - D to P + D and is then multiplied by exp(-(j - P)^2 / (2 sigma^2)) with sigma = D / 2. The
weights A = B * Gaussian do not sum to one. Positions count from 0; `half_window` is D.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    exp,
    family,
    let,
    logistic,
    parameter,
    softmax,
    tanh,
    tensors,
    total,
)

batch, queries, keys, key_dim, hidden, align, value_dim = axes(
    "batch queries keys key_dim hidden align value_dim"
)
b, i, j = batch["b"], queries["i"], keys["j"]
k, l, a, c = key_dim["k"], hidden["l"], align["a"], value_dim["c"]
Q, K, V, W, W_P, v_P, R, P, S, B, A, O = tensors("Q K V W W_P v_P R P S B A O")
D = parameter("half_window", integer=True, ge=1, doc="keys seen on each side of the centre")


def build(score: str) -> Spec:
    """Predictive local attention with one score."""
    dot = score == "dot"
    key = K[b, j, k] if dot else K[b, j, l]
    projected = [] if dot else [let(R[b, j, k], total(W[k, l] * key, over=l))]
    read = key if dot else R[b, j, k]
    centre = total(v_P[a] * tanh(total(W_P[a, k] * Q[b, i, k], over=k)), over=a)
    seen = (j >= P[b, i] - D) & (j <= P[b, i] + D)
    return Spec(
        "luong_local_p",
        inputs=[
            Q[b, i, k],
            key,
            V[b, j, c],
            *([] if dot else [W[k, l]]),
            W_P[a, k],
            v_P[a],
        ],
        equations=[
            *projected,
            let(P[b, i], keys.size * logistic(centre)),
            let(S[b, i, j], total(Q[b, i, k] * read, over=k)),
            let(B[b, i, j], softmax(S[b, i, j], over=j, where=seen)),
            let(A[b, i, j], B[b, i, j] * exp(-2 * (j - P[b, i]) ** 2 / D**2)),
            let(O[b, i, c], total(A[b, i, j] * V[b, j, c], over=j)),
        ],
        outputs=[O],
        parameters=[D],
        announces={
            "permutation equivariance": "the Gaussian stands at a position of the keys",
            "rows sum to one": "the Gaussian lowers weights that the softmax made sum to one",
            "convex hull": "weights sum to less than one",
            "value shift": "weights sum to less than one",
            "value gradients sum to output cotangents": "weights sum to less than one",
        },
    )


spec = family(build, score=Choice("dot", "general"))
