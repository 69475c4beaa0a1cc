"""Windows on a grid: pixels of one window see each other (Liu et al. 2021, Swin, eq. 4).

A row is tile x offset, and so is a column: the image axes are multiples of the window's. `bias`
(heads, offsets of query row, query column, key row, key column) is the source's B, gathered from
its relative table; it tells the window's size, and 0 leaves it out.
"""

from attnverify.notation import Spec, axes, exp, let, sqrt, tensors, total

batch, heads, key_dim, value_dim = axes("batch heads key_dim value_dim")
tile_rows, row_offsets, tile_columns, column_offsets = axes(
    "tile_rows row_offsets tile_columns column_offsets"
)
b, h, k, c = batch["b"], heads["h"], key_dim["k"], value_dim["c"]
m, n = tile_rows["m"], tile_columns["n"]
y, x, u, w = row_offsets["y"], column_offsets["x"], row_offsets["u"], column_offsets["w"]
Q, K, V, bias, S, E, Z, A, O = tensors("Q K V bias S E Z A O")
query, key = (b, h, (m, y), (n, x)), (b, h, (m, u), (n, w))
pair = (b, h, m, n, y, x, u, w)

spec = Spec(
    "blocked_2d",
    inputs=[Q[*query, k], K[*query, k], V[*query, c], bias[h, y, x, u, w]],
    equations=[
        let(
            S[pair],
            total(Q[*query, k] * K[*key, k], over=k) / sqrt(key_dim.size) + bias[h, y, x, u, w],
        ),
        let(E[pair], exp(S[pair])),
        let(Z[b, h, m, n, y, x], total(E[pair], over=[u, w])),
        let(A[pair], E[pair] / Z[b, h, m, n, y, x]),
        let(O[*query, c], total(A[pair] * V[*key, c], over=[u, w])),
    ],
    outputs=[O],
)
