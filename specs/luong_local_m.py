"""Local attention, monotonic: i sees keys i - D to i + D (Luong et al. 2015, section 3.2, local-m).

The score is q . k or, with `score="general"`, q W k; `half_window` is D. The source has no Gaussian
factor here. Rows whose window lies beyond the last key give 0.
"""

from attnverify.notation import Choice, Spec, axes, family, let, parameter, softmax, tensors, total

batch, queries, keys, key_dim, hidden, value_dim = axes(
    "batch queries keys key_dim hidden value_dim"
)
b, i, j = batch["b"], queries["i"], keys["j"]
k, l, c = key_dim["k"], hidden["l"], value_dim["c"]
Q, K, V, W, R, S, A, O = tensors("Q K V W R S A O")
D = parameter("half_window", integer=True, ge=0, doc="keys seen on each side of the centre")


def build(score: str) -> Spec:
    """Monotonic local attention with one score."""
    dot = score == "dot"
    key = K[b, j, k] if dot else K[b, j, l]
    projected = [] if dot else [let(R[b, j, k], total(W[k, l] * key, over=l))]
    read = key if dot else R[b, j, k]
    return Spec(
        "luong_local_m",
        inputs=[Q[b, i, k], key, V[b, j, c], *([] if dot else [W[k, l]])],
        equations=[
            *projected,
            let(S[b, i, j], total(Q[b, i, k] * read, over=k)),
            let(A[b, i, j], softmax(S[b, i, j], over=j, where=(j >= i - D) & (j <= i + D))),
            let(O[b, i, c], total(A[b, i, j] * V[b, j, c], over=j)),
        ],
        outputs=[O],
        parameters=[D],
        announces={"permutation equivariance": "the window orders the keys"},
    )


spec = family(build, score=Choice("dot", "general"))
