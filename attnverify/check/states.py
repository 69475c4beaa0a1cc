"""States of a part of the keys: two halves merge, and a cache decodes as the whole call does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from attnverify.check.identities import Asked
from attnverify.check.probe import Bounded, NotJudged, Probe
from attnverify.inputs import Case, supported


def merging(asked: Asked) -> None:
    """O and L of two halves of the keys give those of all: L = log(e^L1 + e^L2)."""
    probe, case = asked.probe, asked.case
    keys = case.sizes["keys"]
    if keys < 2:
        raise NotJudged("one key has no halves")
    halves = [
        _some_keys(probe, case, places) for places in (range(keys // 2), range(keys // 2, keys))
    ]
    dues = [probe.dues(half) for half in halves]
    due, whole = _merged(probe, dues), probe.dues(case)
    for name, merged in due.items():
        # A score that knows how many keys there are is another one in each half.
        error = np.abs(merged.value - whole[name].value)
        if not (np.isfinite(merged.value).all() and (error <= whole[name].sigma).all()):
            raise NotJudged("the spec's own states do not merge")
    found = _merged(
        probe, [_answered(probe, half, due) for half, due in zip(halves, dues, strict=True)]
    )
    for name, answer in _answered(probe, case, whole).items():
        answer.equals(found[name], what=f"{name} against two halves of the keys merged")


def _merged(probe: Probe, halves: list[Mapping[str, Bounded]]) -> dict[str, Bounded]:
    """The state of all keys from those of two halves."""
    out, log = probe.spec.outputs
    logs, outs = [half[log] for half in halves], [half[out] for half in halves]
    with np.errstate(invalid="ignore"):
        whole = np.logaddexp(logs[0].value, logs[1].value)
        shares = [np.exp(part.value - whole)[..., None] for part in logs]
        value = shares[0] * outs[0].value + shares[1] * outs[1].value
        # A share moves by its own times the other's per unit of either log-sum-exp.
        apart = np.abs(outs[0].value - outs[1].value) * shares[0] * shares[1]
    unsure = logs[0].sigma + logs[1].sigma
    sigma = unsure[..., None] * apart + shares[0] * outs[0].sigma + shares[1] * outs[1].sigma
    return {
        out: Bounded(value, sigma, outs[0].axes),
        log: Bounded(whole, np.maximum(logs[0].sigma, logs[1].sigma), logs[0].axes),
    }


def _answered(probe: Probe, case: Case, dues: Mapping[str, Bounded]) -> dict[str, Bounded]:
    """Every output of the subject, as sure as what is due."""
    return {n: replace(dues[n], value=value) for n, value in probe.outputs(case).items()}


def _some_keys(probe: Probe, case: Case, places: range) -> Case:
    sizes = {**case.sizes, "keys": len(places)}
    if supported(probe.spec, sizes, probe.support) != sizes:
        raise NotJudged("the number of keys is fixed")
    return replace(probe.permuted(case, "keys", list(places)), sizes=sizes)


def decoding(asked: Asked) -> None:
    """The last query alone, its past in the cache, gives the last row of the whole call."""
    probe, case = asked.probe, asked.case
    pasts = [name for name in case.arrays if f"{name}_past" in case.arrays]
    if case.sizes["queries"] < 1 or case.sizes["new"] < 1:
        raise NotJudged("there is no last row")
    arrays = dict(case.arrays)
    for name in pasts:
        (at,) = probe.axis("new")[name]
        split = np.split(case.arrays[name], [case.sizes["new"] - 1], at)
        arrays[f"{name}_past"] = np.concatenate([case.arrays[f"{name}_past"], split[0]], at)
        arrays[name] = split[1]
    one = {"new": 1, "queries": 1, "past": case.sizes["past"] + case.sizes["new"] - 1}
    sizes = probe.spec.fitted({**case.sizes, **one})
    for name, (at,) in probe.axis("queries").items():
        arrays[name] = np.take(arrays[name], [-1], at)
    step = replace(case, arrays=arrays, sizes=sizes, cotangents={})
    whole = probe.output(case).only("queries", case.sizes["queries"] - 1)
    probe.output(step).equals(whole, what="O of the last query alone, decoded from the cache")
