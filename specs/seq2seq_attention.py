"""A decoder that attends to a bidirectional encoder (Bahdanau et al. 2015, eqs. 5 and 6, A.1.2).

At step t the score of source position j is v.tanh(W_a s_{t-1} + U_a [f_j; r_j]), with f and r the
encoder's states forwards and backwards; its softmax A weighs both into the context of the next
state s_t = tanh(W y_{t-1} + U s_{t-1} + C context). Cells are tanh units in place of gated ones
(r = z = 1 in A.1.1 and A.2), matrices on [f; r] are given as two, and s_0 = tanh(W_s r_1).
"""

from attnverify.notation import (
    Spec,
    axes,
    eq,
    let,
    previous,
    recur,
    softmax,
    tanh,
    tensors,
    total,
    where,
)

batch, keys, time, model, embedding, hidden, align = axes(
    "batch keys time model embedding hidden align"
)
b, j, t, a = batch["b"], keys["j"], time["t"], align["a"]
e, m, d, g = model["e"], embedding["m"], hidden["d"], hidden["g"]
X, Y, F, R, E, A, S, P = tensors("X Y F R E A S P")
W_f, U_f, W_r, U_r, W_a, U_a, T_a, v, W_s, W, U, C_f, C_r = tensors(
    "W_f U_f W_r U_r W_a U_a T_a v W_s W U C_f C_r"
)


symbol = total(W[d, m] * Y[b, t, m], over=m) + total(U[d, g] * previous(S[b, t, g]), over=g)
contexts = [total(C[d, g] * A[b, t, j] * H[b, j, g], over=[j, g]) for C, H in ((C_f, F), (C_r, R))]
asked = total(W_a[a, d] * previous(S[b, t, d]), over=d)
first = total(where(eq(j, 0)) * W_s[d, g] * R[b, j, g], over=[j, g])
offered = total(U_a[a, d] * F[b, j, d], over=d) + total(T_a[a, d] * R[b, j, d], over=d)

spec = Spec(
    "seq2seq_attention",
    inputs=[
        X[b, j, e],
        Y[b, t, m],
        *(w[d, e] for w in (W_f, W_r)),
        *(u[d, g] for u in (U_f, U_r, W_s, U, C_f, C_r)),
        *(u[a, d] for u in (W_a, U_a, T_a)),
        v[a],
        W[d, m],
    ],
    equations=[
        *(
            recur(
                along=j,
                initial={H: 0},
                steps=[
                    let(
                        H[b, j, d],
                        tanh(
                            total(w[d, e] * X[b, j, e], over=e)
                            + total(u[d, g] * previous(H[b, j, g]), over=g)
                        ),
                    )
                ],
                reverse=H == R,
            )
            for H, w, u in ((F, W_f, U_f), (R, W_r, U_r))
        ),
        let(P[b, j, a], offered),
        recur(
            along=t,
            initial={S: tanh(first)},
            steps=[
                let(E[b, t, j], total(v[a] * tanh(asked + P[b, j, a]), over=a)),
                let(A[b, t, j], softmax(E[b, t, j], over=j)),
                let(S[b, t, d], tanh(symbol + contexts[0] + contexts[1])),
            ],
        ),
    ],
    outputs=[S],
    announces={"permutation equivariance": "recurrences run along both sequences"},
)
