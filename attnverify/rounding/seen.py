"""What the first form of a program shows to the others: its weights, scores and their noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compile.recipe import Recipe, label
from attnverify.compile.run import aligned
from attnverify.rounding.forms import softmaxes
from attnverify.rounding.noise import Recomputed
from attnverify.rounding.parts import Form
from attnverify.rounding.profiles import Profile

Array = NDArray[Any]


@dataclass(frozen=True)
class Seen:
    """What the first form showed: exact weights and scores, and how far the scores were moved."""

    scores: Mapping[str, str]
    exact: Mapping[str, Array]
    spread: Mapping[str, Array]
    sizes: Mapping[str, int]

    def again(
        self, form: Form, recipe: Recipe, marker: str, weights: str, profile: Profile
    ) -> Recomputed:
        """The noise of weights computed again from rounded scores and a rounded log-sum-exp."""
        head = form.spec.heads[weights]
        flat = tuple(label(index) for index in head.indices)
        shape = [self.sizes[index.axis.name] for index in head.indices]
        shown = self.exact[self.scores[weights]].reshape(shape)
        score = np.where(np.isfinite(shown), shown, 0)
        over = head.indices.index(softmaxes(form.spec)[weights].at)
        lse = _log_sum_exp(score, self.exact[weights].reshape(shape), over)
        anew = (np.abs(score) + profile.exponential) * profile.stage / np.sqrt(3)
        entrywise = np.hypot(self.spread[self.scores[weights]].reshape(shape), anew)
        rowwise = profile.stage * np.abs(lse) / np.sqrt(3)
        want = next(op.labels for op in recipe.ops if op.out == marker)
        return Recomputed(aligned(entrywise, flat, want), aligned(rowwise, flat, want))

    def copied(self, form: Form, recipe: Recipe, marker: str, name: str) -> Recomputed:
        """The noise of a sum that is computed a second time in another way."""
        head = form.spec.heads[name]
        flat = tuple(label(index) for index in head.indices)
        shape = [self.sizes[index.axis.name] for index in head.indices]
        value = np.abs(self.exact[name].reshape(shape))
        relative = np.where(value > 0, self.spread[name].reshape(shape), 0) / np.where(
            value > 0, value, 1
        )
        want = next(op.labels for op in recipe.ops if op.out == marker)
        # Two computations differ by the errors of both.
        entrywise = aligned(np.sqrt(2) * relative, flat, want)
        return Recomputed(entrywise, np.zeros_like(entrywise))

    def peaks(self, form: Form) -> dict[str, Array]:
        """The largest score of each row, and where running maxima stand."""
        found: dict[str, Array] = {}
        for peak in form.peaks:
            weights, scores = self.exact[peak.weights], self.exact[self.scores[peak.weights]]
            best = np.argmax(weights, axis=peak.place, keepdims=True)
            found[peak.largest.tensor.name] = _records(scores, weights > 0, peak.place)
            top = np.take_along_axis(scores, best, peak.place).squeeze(peak.place)
            found[peak.top.tensor.name] = np.where(np.isfinite(top), top, 0)
        return found


def _records(scores: Array, seen: Array, axis: int) -> Array:
    """1 where a seen score is the largest so far from either end: what a running maximum takes."""
    shown = np.where(seen, scores, -np.inf)
    ahead = np.maximum.accumulate(shown, axis)
    behind = np.flip(np.maximum.accumulate(np.flip(shown, axis), axis), axis)
    return np.where(seen & ((shown == ahead) | (shown == behind)), 1.0, 0.0)


def _log_sum_exp(score: Array, weights: Array, over: int) -> Array:
    """The log-sum-exp of each row, L = S - log A, read at its largest weight."""
    best = np.argmax(weights, axis=over, keepdims=True)
    top = np.take_along_axis(weights, best, over)
    logs = np.log(np.where(top > 0, top, 1))
    return np.asarray(np.take_along_axis(score, best, over) - logs)
