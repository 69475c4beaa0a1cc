"""A window and global tokens: these see all and are seen by all (Beltagy et al. 2020, section 3.1).

The first `globals` tokens are global, or with `tokens="given"` those that the boolean input
`marked` (batch, time) names; the others see window / 2 tokens on each side. With `projections=
"separate"` a global token's row reads Q_G, K_G and V_G, its own projections of all tokens, as in
the authors' code; the other rows read Q, K and V, of global tokens too.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    booleans,
    family,
    let,
    parameter,
    softmax,
    sqrt,
    tensors,
    total,
    where,
)

batch, heads, time, key_dim, value_dim = axes("batch heads time key_dim value_dim")
b, h, i, j, k, c = batch["b"], heads["h"], time["i"], time["j"], key_dim["k"], value_dim["c"]
Q, K, V, Q_G, K_G, V_G, S, A, O = tensors("Q K V Q_G K_G V_G S A O")
(marked,) = booleans("marked")
window = parameter(
    "window", integer=True, ge=2, multiple_of=2, doc="tokens seen, half of them on each side"
)
count = parameter("globals", integer=True, ge=0, doc="how many first tokens are global")


def build(projections: str, tokens: str) -> Spec:
    """A window with global tokens, their projections shared or separate."""
    given, separate = tokens == "given", projections == "separate"
    row = marked[b, i] if given else i < count
    column = marked[b, j] if given else j < count
    seen = row | column | ((2 * j >= 2 * i - window) & (2 * j <= 2 * i + window))
    score, value = total(Q[b, h, i, k] * K[b, h, j, k], over=k), V[b, h, j, c]
    added = total(A[b, h, i, j] * value, over=j)
    if separate:
        score = where(row, total(Q_G[b, h, i, k] * K_G[b, h, j, k], over=k), score)
        added = total(A[b, h, i, j] * where(row, V_G[b, h, j, c], value), over=j)
    own = [Q_G[b, h, i, k], K_G[b, h, j, k], V_G[b, h, j, c]] if separate else []
    return Spec(
        "window_global",
        inputs=[
            Q[b, h, i, k],
            K[b, h, j, k],
            V[b, h, j, c],
            *own,
            *([marked[b, i]] if given else []),
        ],
        equations=[
            let(S[b, h, i, j], score / sqrt(key_dim.size)),
            let(A[b, h, i, j], softmax(S[b, h, i, j], over=j, where=seen)),
            let(O[b, h, i, c], added),
        ],
        outputs=[O],
        parameters=[window] if given else [window, count],
        announces={"permutation equivariance": "the window orders the tokens"},
    )


spec = family(build, projections=Choice("shared", "separate"), tokens=Choice("first", "given"))
