"""One-dimensional convolution over a sequence: o_t = sum_r W_r x_{t + dilation r - left}.

The kernel has `taps` weights, `dilation` positions apart, and is not flipped; outside the sequence
x is 0 (van den Oord et al. 2016, section 2.1; torch.nn.Conv1d). `align="causal"` ends the kernel at
t, `"centred"` has half of its extent on each side, rounded down before t as padding "same" is.
"""

from attnverify.notation import (
    Choice,
    Spec,
    axes,
    eq,
    family,
    let,
    parameter,
    tensors,
    total,
    where,
)

batch, time, taps, model, value_dim = axes("batch time taps model value_dim")
b, t, s, r, e, c = batch["b"], time["t"], time["s"], taps["r"], model["e"], value_dim["c"]
X, W, O = tensors("X W O")
dilation = parameter("dilation", integer=True, ge=1, doc="positions from one tap to the next")


def build(align: str) -> Spec:
    """The convolution with its kernel before the position or around it."""
    extent = dilation * (taps.size - 1)
    left = t + dilation * r - s
    centred = (2 * left <= extent) & (2 * left > extent - 2)
    seen = eq(left, extent) if align == "causal" else centred
    later = {"causality": "the kernel reaches past its position"} if align == "centred" else {}
    return Spec(
        "convolution",
        inputs=[X[b, t, e], W[r, e, c]],
        equations=[
            let(O[b, t, c], total(where(seen) * X[b, s, e] * W[r, e, c], over=[s, r, e])),
        ],
        outputs=[O],
        parameters=[dilation],
        announces={"permutation equivariance": "the kernel orders the positions", **later},
    )


spec = family(build, align=Choice("causal", "centred"))
