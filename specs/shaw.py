"""Relative keys and values, clipped at a distance (Shaw et al. 2018, eqs. 3 and 4).

Row p of the tables R_K (distances, key_dim) and R_V (distances, value_dim) belongs to the distance
p - clip, so that they have 2 clip + 1 rows; heads share them. The score is q . (k + R_K[j - i]) /
sqrt(d), with j - i held between -clip and clip. `values=False` leaves out R_V.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    eq,
    family,
    let,
    parameter,
    softmax,
    sqrt,
    tensors,
    total,
    where,
)

batch, heads, queries, keys, key_dim, value_dim, distances = axes(
    "batch heads queries keys key_dim value_dim distances"
)
b, h, i, j, p = batch["b"], heads["h"], queries["i"], keys["j"], distances["p"]
k, c = key_dim["k"], value_dim["c"]
Q, K, V, R_K, R_V, P, S, A, O = tensors("Q K V R_K R_V P S A O")
clip = parameter("clip", integer=True, ge=0, doc="the largest distance with a row of its own")

# p = min(max(j - i, -clip), clip) + clip, as a predicate linear in each part.
near = eq(p, j - i + clip) & (j - i >= -clip) & (j - i <= clip)
row = near | (eq(p, 0) & (j - i < -clip)) | (eq(p, 2 * clip) & (j - i > clip))


def build(values: bool) -> Spec:
    """Attention with relative keys, and relative values where asked."""
    content = total(Q[b, h, i, k] * K[b, h, j, k], over=k)
    relative = total(where(row) * P[b, h, i, p], over=p)
    out = total(A[b, h, i, j] * V[b, h, j, c], over=j)
    moved = total(A[b, h, i, j] * where(row) * R_V[p, c], over=[j, p])
    return Spec(
        "shaw",
        inputs=[
            Q[b, h, i, k],
            K[b, h, j, k],
            V[b, h, j, c],
            R_K[p, k],
            *([R_V[p, c]] if values else []),
        ],
        equations=[
            let(P[b, h, i, p], total(Q[b, h, i, k] * R_K[p, k], over=k)),
            let(S[b, h, i, j], (content + relative) / sqrt(key_dim.size)),
            let(A[b, h, i, j], softmax(S[b, h, i, j], over=j)),
            let(O[b, h, i, c], out + moved if values else out),
        ],
        outputs=[O],
        parameters=[clip],
        announces={"permutation equivariance": "distances order the keys"},
    )


spec = family(build, values=Choice(True, False))
