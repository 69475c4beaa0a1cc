"""Neighbourhood attention: a pixel sees kernel^2 pixels about it (Hassani et al. 2023, eq. 4).

At a border the window moves inwards, so that every pixel sees kernel^2 keys (all of an axis that is
shorter than the kernel): on an axis of n it starts at max(0, min(y - kernel // 2, n - kernel)), as
in NATTEN. Arrays are (batch, heads, rows, columns, channels); `relative=True` adds the source's
relative bias, whose row p belongs to the distance p - kernel + 1.
"""

from attnverify.notation import (
    Choice,
    Index,
    Predicate,
    Spec,
    axes,
    eq,
    exp,
    family,
    let,
    parameter,
    sqrt,
    tensors,
    total,
    where,
)

batch, heads, rows, columns, key_dim, value_dim = axes("batch heads rows columns key_dim value_dim")
up, across = axes("up across")
b, h, y, x, u, w = batch["b"], heads["h"], rows["y"], columns["x"], rows["u"], columns["w"]
k, c, p, q = key_dim["k"], value_dim["c"], up["p"], across["q"]
Q, K, V, bias, R, S, E, Z, A, O = tensors("Q K V bias R S E Z A O")
kernel = parameter("kernel", integer=True, ge=1, doc="the side of the window")


def near(at: Index, to: Index) -> Predicate:
    """Whether `to` lies in the window of `at`: linear, for kernel // 2 is doubled on both sides."""
    first = (2 * to >= 2 * at - kernel) | (to >= at.axis.size - kernel)
    last = (2 * to <= 2 * at + kernel - 1) | (to <= kernel - 1)
    return first & last


seen = near(y, u) & near(x, w)


def build(relative: bool) -> Spec:
    """Neighbourhood attention with or without the relative bias."""
    score = total(Q[b, h, y, x, k] * K[b, h, u, w, k], over=k) / sqrt(key_dim.size)
    at = eq(p, u - y + kernel - 1) & eq(q, w - x + kernel - 1)
    added = total(where(at) * bias[h, p, q], over=[p, q])
    return Spec(
        "neighbourhood_2d",
        inputs=[
            Q[b, h, y, x, k],
            K[b, h, y, x, k],
            V[b, h, y, x, c],
            *([bias[h, p, q]] if relative else []),
        ],
        equations=[
            let(S[b, h, y, x, u, w], score + added if relative else score),
            let(E[b, h, y, x, u, w], where(seen) * exp(S[b, h, y, x, u, w])),
            let(Z[b, h, y, x], total(E[b, h, y, x, u, w], over=[u, w])),
            let(A[b, h, y, x, u, w], E[b, h, y, x, u, w] / Z[b, h, y, x]),
            let(O[b, h, y, x, c], total(A[b, h, y, x, u, w] * V[b, h, u, w, c], over=[u, w])),
        ],
        outputs=[O],
        parameters=[kernel],
    )


spec = family(build, relative=Choice(False, True))
