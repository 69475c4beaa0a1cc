"""Projected keys and values: softmax(Q (E K)^T / sqrt(d)) F V (Wang et al. 2020, eq. 7).

E and F map the keys' positions to few (projected, keys). `share="none"` gives each head its own,
`share="heads"` one E and one F for all heads, `share="keys_values"` one E for both and all heads.
Weights A run over projected positions, not over keys.
"""

from attnverify.notation import Choice, Spec, axes, family, let, softmax, sqrt, tensors, total

batch, heads, queries, keys, projected, key_dim, value_dim = axes(
    "batch heads queries keys projected key_dim value_dim"
)
b, h, i, j, p = batch["b"], heads["h"], queries["i"], keys["j"], projected["p"]
k, c = key_dim["k"], value_dim["c"]
Q, K, V, E, F, G, H, S, A, O = tensors("Q K V E F G H S A O")


def build(share: str) -> Spec:
    """Attention over projected keys, with one way of sharing projections."""
    first = E[h, p, j] if share == "none" else E[p, j]
    second = first if share == "keys_values" else F[h, p, j] if share == "none" else F[p, j]
    return Spec(
        "linformer",
        inputs=[Q[b, h, i, k], K[b, h, j, k], V[b, h, j, c], *dict.fromkeys([first, second])],
        equations=[
            let(G[b, h, p, k], total(first * K[b, h, j, k], over=j)),
            let(H[b, h, p, c], total(second * V[b, h, j, c], over=j)),
            let(S[b, h, i, p], total(Q[b, h, i, k] * G[b, h, p, k], over=k) / sqrt(key_dim.size)),
            let(A[b, h, i, p], softmax(S[b, h, i, p], over=p)),
            let(O[b, h, i, c], total(A[b, h, i, p] * H[b, h, p, c], over=p)),
        ],
        outputs=[O],
    )


spec = family(build, share=Choice("none", "heads", "keys_values"))
