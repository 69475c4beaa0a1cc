"""Retention: a linear recurrence with decay gamma (Sun et al. 2023, eqs. 5 to 8).

`form="parallel"` weighs keys by gamma^(i - j) q.k for j <= i (eq. 5), `"recurrent"` carries the
state S_t = gamma S_{t-1} + k_t v_t^T (eq. 6), `"chunkwise"` does both, on arrays (batch, heads,
chunk, place, channels) (eq. 7). `decay="multi_scale"` has gamma = 1 - 2^(-5 - h) for head h
(eq. 8), `"given"` one parameter. The xPos rotation, the group norm and the scale 1/sqrt(d) that
implementations put on k are outside.
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
    previous,
    recur,
    tensors,
    total,
    where,
)

batch, heads, time, chunk, place = axes("batch heads time chunk place")
key_dim, value_dim = axes("key_dim value_dim")
b, h, t, s, k, c = batch["b"], heads["h"], time["t"], time["s"], key_dim["k"], value_dim["c"]
n, p, r = chunk["n"], place["p"], place["r"]
Q, K, V, g, W, M, P, O = tensors("Q K V g W M P O")
gamma = parameter("gamma", gt=0, le=1, doc="what is left of the state after one step")

near = where(s <= t) * exp((t - s) * g[h]) * total(Q[b, h, t, k] * K[b, h, s, k], over=k)
state, written = M[b, h, t, k, c], K[b, h, t, k] * V[b, h, t, c]

after, before, left = M[b, h, n, k, c], P[b, h, n, k, c], place.size - 1 - p
added = total(exp(left * g[h]) * K[b, h, n, p, k] * V[b, h, n, p, c], over=p)
inner = total(Q[b, h, n, p, k] * K[b, h, n, r, k], over=k)
within = total(W[b, h, n, p, r] * V[b, h, n, r, c], over=r)
across = exp((p + 1) * g[h]) * total(Q[b, h, n, p, k] * before, over=k)
chunks = [
    let(before, previous(after)),
    let(after, exp(place.size * g[h]) * previous(after) + added),
]
FORMS = {
    "parallel": [
        let(W[b, h, t, s], near),
        let(O[b, h, t, c], total(W[b, h, t, s] * V[b, h, s, c], over=s)),
    ],
    "recurrent": [let(O[b, h, t, c], total(Q[b, h, t, k] * state, over=k))],
    "chunkwise": [
        let(W[b, h, n, p, r], where(r <= p) * exp((p - r) * g[h]) * inner),
        let(O[b, h, n, p, c], within + across),
    ],
}
STATES = {
    "parallel": [],
    "recurrent": [
        recur(along=t, initial={M: 0}, steps=[let(state, exp(g[h]) * previous(state) + written)])
    ],
    "chunkwise": [recur(along=n, initial={M: 0}, steps=chunks)],
}


def build(form: str, decay: str) -> Spec:
    """Retention in one of its forms."""
    kept = gamma if decay == "given" else 1 - exp(-(5 + h) * log(2))
    at = (n, p) if form == "chunkwise" else (t,)
    order = {"permutation equivariance": "keys decay with their distance"}
    return Spec(
        "retention",
        inputs=[Q[b, h, *at, k], K[b, h, *at, k], V[b, h, *at, c]],
        equations=[let(g[h], log(kept)), *STATES[form], *FORMS[form]],
        outputs=[O],
        parameters=[gamma] if decay == "given" else [],
        announces={} if form == "chunkwise" else order,
    )


spec = family(
    build,
    form=Choice("parallel", "recurrent", "chunkwise"),
    decay=Choice("multi_scale", "given"),
)
