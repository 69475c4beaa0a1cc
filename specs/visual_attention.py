"""Soft attention over image regions for captioning (Xu et al. 2015, eqs. 4 and 5, section 4.2).

Annotation vectors V (batch, keys, value_dim) are keys and values at once and Q (batch, queries,
key_dim) are the decoder's states: additive attention whose keys are its values. With `gate=True`
the context is multiplied by beta = sigma(w . q) (section 4.2.1; its MLP as one layer, no bias).
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    family,
    let,
    logistic,
    softmax,
    tanh,
    tensors,
    total,
)

batch, queries, keys, key_dim, align, value_dim = axes("batch queries keys key_dim align value_dim")
b, i, j = batch["b"], queries["i"], keys["j"]
k, a, c, l = key_dim["k"], align["a"], value_dim["c"], value_dim["l"]
Q, V, W, U, v, w, P, R, S, A, G, O = tensors("Q V W U v w P R S A G O")


def build(gate: bool) -> Spec:
    """Soft attention, with or without the gate."""
    context = total(A[b, i, j] * V[b, j, c], over=j)
    scale = [let(G[b, i], logistic(total(w[k] * Q[b, i, k], over=k)))] if gate else []
    return Spec(
        "visual_attention",
        inputs=[Q[b, i, k], V[b, j, c], W[a, k], U[a, c], v[a], *([w[k]] if gate else [])],
        equations=[
            let(P[b, i, a], total(W[a, k] * Q[b, i, k], over=k)),
            let(R[b, j, a], total(U[a, l] * V[b, j, l], over=l)),
            let(S[b, i, j], total(v[a] * tanh(P[b, i, a] + R[b, j, a]), over=a)),
            let(A[b, i, j], softmax(S[b, i, j], over=j)),
            *scale,
            let(O[b, i, c], G[b, i] * context if gate else context),
        ],
        outputs=[O],
    )


spec = family(build, gate=Choice(False, True))
