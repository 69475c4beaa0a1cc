"""Gradients by distance: attention beside recurrent networks, and where attention fails too."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from attnverify.claims.claim import Claim, met
from attnverify.flow.initial import Start
from attnverify.flow.jacobian import Profile, profile
from attnverify.flow.layers import deep, layer
from attnverify.flow.theory import attention, depth, lipschitz, recurrent
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.verdict import Verdict
from attnverify.verdict.figure import Curve, Figure, Scale

LENGTH, WIDTH, DRAWS = 64, 16, 12
SETTING = f"{LENGTH} positions, width {WIDTH}, weights of variance gain^2 / fan-in"
DISTANCE = Scale("distance t - s, in positions")
NORM = Scale("norm of d output_t / d input_s", log=True)


@cache
def measured(name: str, **choices: Any) -> Profile:
    """The profile of a network of the ledger, at its settings; `choices` are of `Start`, too."""
    values = choices.pop("values", ())
    start = Start(values=dict(values), **choices)
    return profile(_spec(name), length=LENGTH, width=WIDTH, draws=DRAWS, start=start)


def _spec(name: str) -> Spec:
    """A spec by name; attention over Q, K and V as a layer of X."""
    spec = load(name, **({"activation": "tanh"} if name == "elman" else {}))
    reads = {entry.tensor.name for entry in spec.inputs}
    return layer(spec) if {"Q", "K", "V"} <= reads else spec


def figure(title: str, found: Mapping[str, Profile], note: str = "") -> dict[str, Any]:
    """The curves of some profiles, as evidence."""
    curves = tuple(_curve(name, one) for name, one in found.items())
    told = f"{DRAWS} draws; spectral norms, median, and quartiles as a band; {note or SETTING}"
    return {"figure": Figure(title, DISTANCE, NORM, curves, told).plain()}


def _curve(name: str, one: Profile) -> Curve:
    found = one.curve()
    return Curve.of(name, found["x"], found["y"], found["low"], found["high"])


def mitigates() -> Verdict:
    """At the farthest distance attention has more gradient in its worst draw than RNNs at best."""
    names = ("causal", "encoder_block", "elman", "gru", "lstm", "linear_rnn")
    found = {name: measured(name) for name in names}
    worst = float(found["causal"].spectral[:, 0].min())
    best = {n: float(found[n].spectral[:, 0].max()) for n in ("elman", "gru", "lstm")}
    return met(
        worst > max(best.values()), "mitigates",
        f"{LENGTH - 1} positions back at least {worst:.1e} arrives through attention, at most "
        + ", ".join(f"{value:.1e} through {name}" for name, value in best.items()),
        cases=DRAWS, scope=f"one layer at its start, gain 1, no forget bias; {SETTING}",
        evidence=figure("Jacobian by distance", found),
    )  # fmt: skip


def decoder() -> Verdict:
    """The decoder of Bahdanau et al. 2015 with its contexts, and with the same contexts cut off."""
    with_it = measured("seq2seq_attention")
    cut = measured("seq2seq_attention", values=(("C_f", 0.0), ("C_r", 0.0)))
    least = float(with_it.spectral.min())
    most = float(cut.spectral.min(axis=1).max())
    found = {
        "with attention": with_it, "contexts cut off": cut, "seq2seq": measured("seq2seq"),
    }  # fmt: skip
    return met(
        least > most, "decoder",
        f"from the source position that is heard least, at least {least:.1e} arrives with "
        f"attention, at most {most:.1e} without; a backward encoder hears the first positions well",
        cases=DRAWS, scope=f"first output by source position; {SETTING}",
        evidence=figure("What a decoder hears of its source", found),
    )  # fmt: skip


def keeps(scale: float) -> Verdict:
    """Whether at least a thousandth of 1/n arrives from the farthest position, in every draw."""
    found = {
        f"inputs of scale {s:g}": measured("causal", scale=s) for s in sorted({1.0, 3.0, scale})
    }
    least = float(found[f"inputs of scale {scale:g}"].spectral[:, 0].min())
    return met(
        least >= 1e-3 / LENGTH, "keeps",
        f"the smallest norm {LENGTH - 1} positions back is {least:.1e}",
        cases=DRAWS, scope=f"one causal layer, inputs of scale {scale:g}; {SETTING}",
        evidence=figure("Attention with larger and larger logits", found),
    )  # fmt: skip


def windowed() -> Verdict:
    """Whether a gradient arrives from every distance through a window of 8 keys."""
    spec = layer(load("sliding_window", window=8))
    found = profile(spec, length=LENGTH, width=WIDTH, draws=DRAWS)
    zero = int((found.spectral.max(axis=0) == 0).sum())
    return met(
        zero == 0, "windowed", f"{zero} of {LENGTH} distances have a gradient of exactly 0",
        cases=DRAWS, scope=f"one layer, window of 8; {SETTING}",
        evidence=figure("A window of 8 keys", {"causal": measured("causal"), "window": found}),
    )  # fmt: skip


def recurrent_loses(name: str, **choices: Any) -> Verdict:
    """Whether less than a thousandth of the nearest gradient arrives from the farthest position."""
    found = {
        "elman, gain 0.5": measured("elman", gain=0.5),
        "elman, gain 1": measured("elman"),
        "elman, gain 2": measured("elman", gain=2.0),
        "lstm, forget bias 0": measured("lstm"),
        "lstm, forget bias 1": measured("lstm", values=(("b_f", 1.0),)),
        "lstm, forget bias 5": measured("lstm", values=(("b_f", 5.0),)),
        "linear, normal": measured("linear_rnn"),
        "linear, orthogonal": measured("linear_rnn", kind="orthogonal"),
    }
    one = measured(name, **choices)
    share = one.spectral[:, 0] / one.spectral[:, -1]
    named = {**choices, **dict(choices.get("values", ()))}
    named.pop("values", None)
    told = ", ".join(f"{key} {value}" for key, value in named.items()) or "gain 1"
    return met(
        bool((share < 1e-3).all()), "loses",
        f"{LENGTH - 1} positions back between {share.min():.1e} and {share.max():.1e} of the "
        "nearest gradient arrives",
        cases=DRAWS, scope=f"{name}, {told}; {SETTING}",
        evidence={} if choices else figure("What gain and initialisation change", found),
    )  # fmt: skip


def skips(deepest: int = 8, draws: int = 8) -> Verdict:
    """Whether skips carry the gradient of the newest input through depth, in every draw."""
    depths = [n for n in (1, 2, 4, 8) if n <= deepest]
    kinds = {
        "attention": layer(load("causal")),
        "attention with skips": layer(load("causal"), residual=True),
        "encoder block, norm first": load("encoder_block", norm="pre"),
        "encoder block, norm last": load("encoder_block", norm="post"),
    }
    length, curves, last = 32, [], {}
    for name, spec in kinds.items():
        near = np.array([
            profile(deep(spec, n), wrt=["X"], length=length, width=8, draws=draws).spectral[:, -1]
            for n in depths
        ])  # fmt: skip
        last[name] = near[-1]
        curves.append(Curve.of(name, depths, *np.quantile(near, [0.5, 0.25, 0.75], axis=1)))
    plain, kept = last["attention"], last["attention with skips"]
    picture = Figure(
        "The newest input's gradient by depth", Scale("layers", log=True),
        Scale("norm of d output_t / d input_t", log=True), tuple(curves),
        f"{draws} draws; median, and quartiles as a band; {length} positions, width 8, gain 1",
    )  # fmt: skip
    return met(
        kept.min() > plain.max(), "skips",
        f"through {depths[-1]} layers at least {kept.min():.1e} arrives with skips, at most "
        f"{plain.max():.1e} without: causal attention without skips ends at its first position",
        cases=draws * len(depths) * len(kinds),
        scope=f"{depths[-1]} layers, causal, gain 1, width 8",
        evidence={"figure": picture.plain()},
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    Claim("attention mitigates vanishing gradients", mitigates),
    Claim("attention lets a decoder hear every position of its source", decoder),
    Claim("attention keeps the gradient at every distance", lambda: keeps(1.0)),
    Claim(
        "attention keeps the gradient at every distance, however large its logits",
        lambda: keeps(10.0),
        fails="saturated weights are 0 for all keys but one, and with them both paths",
    ),
    Claim(
        "attention keeps the gradient at every distance, whatever its mask",
        windowed,
        fails="nothing comes from outside a window",
    ),
    Claim("a plain recurrent network loses the gradient", lambda: recurrent_loses("elman")),
    Claim(
        "every recurrent network loses the gradient",
        lambda: recurrent_loses("linear_rnn", kind="orthogonal"),
        fails="a linear network with an orthogonal matrix keeps every norm",
    ),
    Claim(
        "gated recurrent networks lose the gradient, however they start",
        lambda: recurrent_loses("lstm", values=(("b_f", 5.0),)),
        fails="a forget gate that begins open carries it (Gers et al. 2000)",
    ),
    Claim("skips carry the gradient through a deep stack of attention", skips),
)

THEORY: tuple[Claim, ...] = (
    Claim("the direct path from value j to output i is P_ij I", attention.direct_path),
    Claim(
        "the path through the scores is alpha P_ij (v_j - o_i) q_i^T by key j",
        attention.score_path,
    ),
    Claim(
        "the path through the scores is alpha sum_j P_ij (v_j - o_i) k_j^T by query i",
        lambda: attention.score_path(by="Q"),
    ),
    Claim("a recurrence multiplies gradients by at most gamma sigma_max a step", recurrent.pascanu),
    Claim(
        "a recurrence multiplies gradients by at most gamma times its spectral radius a step",
        lambda: recurrent.pascanu(2000, size_of=recurrent.spectral_radius),
        fails="the radius bounds powers in the limit alone, unless the matrix is normal",
    ),
    Claim("sigma_max below 1/gamma suffices for vanishing gradients", recurrent.vanishing),
    Claim(
        "sigma_max above 1/gamma suffices for exploding gradients",
        recurrent.exploding,
        fails="it is necessary, not sufficient (Pascanu et al. 2013)",
    ),
    Claim("the Jacobian of softmax has norm at most 1/2", attention.softmax_bound),
    Claim("large logits saturate softmax", attention.saturation),
    Claim("with equal scores every weight is 1/n", attention.uniform),
    Claim("weights are diluted as keys are added", attention.dilution),
    Claim(
        "weights are diluted as keys are added, however peaked the scores",
        lambda: attention.dilution(scale=12.0),
        fails="a key that stands out keeps its weight",
    ),
    Claim("the variance of q . k is d", attention.variance),
    Claim("1/sqrt(d) keeps softmax from saturating", attention.scaled),
    Claim("attention without skips loses rank with the third power", depth.rank_collapse),
    Claim("skips stop rank collapse", depth.collapse_by_depth),
    Claim("Kim's probe has the derivative 1/N + a Var(x)", lipschitz.kim),
    Claim(
        "dot-product self-attention is Lipschitz",
        lipschitz.lipschitz,
        fails="the probe's derivative grows with the square of its inputs (Kim et al. 2021)",
    ),
    Claim("on Kim's probe l2 self-attention stays bounded", lambda: lipschitz.lipschitz("l2")),
    Claim("on a ball self-attention is as steep as sqrt(n)", lipschitz.ball),
)
