"""Compose attention: heads, position, score, bias and cap, mask, normaliser, aggregate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attnverify.algebra.terms import Entry, Parameter, Tensor
from attnverify.attention.heads import Heads, standard
from attnverify.attention.line import Line
from attnverify.attention.masks import Mask, everything
from attnverify.attention.normalisers import Normaliser, softmax_weights
from attnverify.attention.positions import Position
from attnverify.attention.scores import Bias, Score, dot_score
from attnverify.attention.stages import Stages
from attnverify.spec import Spec


def attention(
    name: str,
    *,
    heads: Heads | None = None,
    position: Position | Sequence[Position] = (),
    score: Score | None = None,
    scale: object = None,
    bias: Bias | Sequence[Bias] = (),
    scale_bias: bool = False,
    cap: object = None,
    cap_before_bias: bool = True,
    cap_before_mask: bool = True,
    mask: Mask | None = None,
    normaliser: Normaliser | None = None,
    dropout: object = None,
    empty_rows: str = "zeros",
    lse_base: object = "e",
    one_sequence: bool = False,
    cache: bool = False,
    parameters: Iterable[object] = (),
    description: str = "",
    announces: Mapping[str, str] | None = None,
) -> Spec:
    """Compose a Spec of attention from a choice at each stage, as `Stages` says what they are.

    Inputs Q (batch, heads, queries, key_dim), K (batch, heads, keys, key_dim), V (batch, heads,
    keys, value_dim) and what the stages read. Output O (batch, heads, queries, value_dim); scores
    S, weights A and, where exponentials are divided, the log-sum-exp L can be asked for as outputs.
    Of `parameters`, what is no Parameter is passed over, as a family's choice may be a number.

    Raises ParameterError for choices that contradict each other. Source: Vaswani et al. 2017.

    >>> from attnverify.attention import causal
    >>> print(attention("causal", mask=causal()).equation("A"))
    A[b,h,i,j] = softmax_j(S[b,h,i,j] | j <= i)
    """
    stages = Stages(
        heads=heads or standard(),
        turns=(position,) if isinstance(position, Position) else tuple(position),
        score=score or dot_score(),
        scale=scale,
        biases=(bias,) if isinstance(bias, Bias) else tuple(bias),
        scale_bias=scale_bias,
        cap=cap,
        cap_before_bias=cap_before_bias,
        cap_before_mask=cap_before_mask,
        mask=mask or everything(),
        normaliser=normaliser or softmax_weights(),
        dropout=dropout,
        empty_rows=empty_rows,
        lse_base=lse_base,
        one_sequence=one_sequence,
        cache=cache,
    )
    stages.check(name)
    open_ones = [p for p in parameters if isinstance(p, Parameter)]
    return _composed(name, stages, open_ones).replace(
        description=description, announces={**stages.reasons(), **(announces or {})}
    )


def _composed(name: str, stages: Stages, parameters: list[Parameter]) -> Spec:
    line = Line(stages, stages.site())
    line.run()
    # Along one sequence queries and keys read one input, at two indices.
    once: dict[Tensor, Entry] = {}
    for entry in line.inputs:
        once.setdefault(entry.tensor, entry)
    inputs = tuple(once.values())
    return Spec(name, inputs, tuple(line.equations), ("O",), parameters=tuple(parameters))
