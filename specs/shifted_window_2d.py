"""Shifted windows on a grid: Swin's second block (Liu et al. 2021, section 3.2, eq. 4, figure 4).

Windows are displaced by `shift` (the source: half a window), and those at the border stay apart
from those that a cyclic shift brings beside them. The source rolls the image by `shift`, masks and
rolls back, which is an execution of the mask written here in the image's own coordinates: along
each axis, pixels see each other where their window (y - shift) // size is the same. `bias` is over
offsets as in blocked_2d: the source's B, rolled by `shift` along its four axes of offsets.
"""

from attnverify.notation import (
    Index,
    Predicate,
    Spec,
    axes,
    eq,
    exp,
    let,
    parameter,
    sqrt,
    tensors,
    total,
    where,
)

batch, heads, key_dim, value_dim = axes("batch heads key_dim value_dim")
tile_rows, row_offsets, tile_columns, column_offsets = axes(
    "tile_rows row_offsets tile_columns column_offsets"
)
b, h, k, c = batch["b"], heads["h"], key_dim["k"], value_dim["c"]
m, n, s, t = tile_rows["m"], tile_columns["n"], tile_rows["s"], tile_columns["t"]
y, x, u, w = row_offsets["y"], column_offsets["x"], row_offsets["u"], column_offsets["w"]
Q, K, V, bias, S, E, Z, A, O = tensors("Q K V bias S E Z A O")
shift = parameter(
    "shift", integer=True, ge=0, doc="how far windows are displaced, below their size"
)
query, key = (b, h, (m, y), (n, x)), (b, h, (s, u), (t, w))
pair = (b, h, m, y, n, x, s, u, t, w)


def together(tile: Index, at: Index, other: Index, to: Index) -> Predicate:
    """Whether two places of an axis lie in one displaced window."""
    early, late = at < shift, to < shift
    same = eq(tile, other) & ((early & late) | (~early & ~late))
    return same | (eq(tile, other + 1) & early & ~late) | (eq(other, tile + 1) & ~early & late)


seen = together(m, y, s, u) & together(n, x, t, w)

spec = Spec(
    "shifted_window_2d",
    inputs=[Q[*query, k], K[*query, k], V[*query, c], bias[h, y, x, u, w]],
    equations=[
        let(
            S[pair],
            total(Q[*query, k] * K[*key, k], over=k) / sqrt(key_dim.size) + bias[h, y, x, u, w],
        ),
        let(E[pair], where(seen) * exp(S[pair])),
        let(Z[b, h, m, y, n, x], total(E[pair], over=[s, u, t, w])),
        let(A[pair], E[pair] / Z[b, h, m, y, n, x]),
        let(O[*query, c], total(A[pair] * V[*key, c], over=[s, u, t, w])),
    ],
    outputs=[O],
    parameters=[shift],
)
