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
        """The largest score of each row, 1 where it stands first, and no shares."""
        found: dict[str, Array] = {}
        for peak in form.peaks:
            weights, scores = self.exact[peak.weights], self.exact[self.scores[peak.weights]]
            largest, none = np.zeros_like(weights), np.zeros_like(weights)
            top = np.zeros(np.delete(weights.shape, peak.place))
            if weights.shape[peak.place]:
                best = np.argmax(weights, axis=peak.place, keepdims=True)
                np.put_along_axis(largest, best, 1.0, peak.place)
                top = np.take_along_axis(scores, best, peak.place).squeeze(peak.place)
            found[peak.largest.tensor.name], found[peak.shares.tensor.name] = largest, none
            found[peak.top.tensor.name] = np.where(np.isfinite(top), top, 0)
        return found

    def shares(self, form: Form) -> dict[str, Array]:
        """How far what a row's slopes sum to may go to each score through running maxima."""
        return {
            peak.shares.tensor.name: running_shares(
                self.exact[self.scores[peak.weights]], self.exact[peak.weights], peak.place
            )
            for peak in form.peaks
        }


def running_shares(scores: Array, weights: Array, axis: int) -> Array:
    """The shares of what a row's slopes sum to, as standard deviations, by running maxima.

    Each step of a running sum is rounded as far as the sum has come, and passes its rounding to
    the score that leads: of equal ones to the newest, or all to the first.  Keys are met in order
    or from the last to the first.

    >>> running_shares(np.zeros((1, 4)), np.full((1, 4), 0.25), 1).round(2)
    array([[1.  , 0.55, 0.55, 1.  ]])
    """
    seen, last = np.moveaxis(weights, axis, -1), np.moveaxis(scores, axis, -1)
    shown = np.where(seen > 0, last, -np.inf)
    ahead = _leading(shown, seen)
    behind = np.flip(_leading(np.flip(shown, -1), np.flip(seen, -1)), -1)
    return np.moveaxis(np.sqrt(np.maximum(ahead, behind)), -1, axis)


def _leading(shown: Array, weights: Array) -> Array:
    """The part of a running sum's variance in whose steps each score leads, keys last."""
    sums = np.cumsum(weights, -1)
    steps = np.where(weights > 0, np.square(sums), 0)
    whole = np.sum(steps, -1, keepdims=True)
    steps = steps / np.where(whole > 0, whole, 1)
    so_far = np.maximum.accumulate(shown, -1)
    before = np.concatenate([np.full_like(shown[..., :1], -np.inf), so_far[..., :-1]], -1)
    first, newest = (_led(steps, leads) for leads in (shown > before, shown == so_far))
    return np.maximum(first, newest)


def _led(steps: Array, leads: Array) -> Array:
    """The sum of steps from each place that takes the lead to the next that does."""
    keys = steps.shape[-1]
    places = np.maximum.accumulate(np.where(leads, np.arange(keys), 0), -1)
    flat = places.reshape(-1, keys) + keys * np.arange(places.size // max(keys, 1))[:, None]
    summed = np.bincount(flat.ravel(), steps.ravel(), minlength=steps.size)
    return np.asarray(summed.reshape(steps.shape))


def _log_sum_exp(score: Array, weights: Array, over: int) -> Array:
    """The log-sum-exp of each row, L = S - log A, read at its largest weight; 0 without keys."""
    if not weights.shape[over]:
        return np.asarray(np.sum(weights, over, keepdims=True))
    best = np.argmax(weights, axis=over, keepdims=True)
    top = np.take_along_axis(weights, best, over)
    logs = np.log(np.where(top > 0, top, 1))
    return np.asarray(np.take_along_axis(score, best, over) - logs)
