"""The judge from end to end on NumPy subjects: right ones pass, wrong ones shrink and replay."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from autograd import numpy as anp

import attnverify as av
from attnverify.check.run import CASES
from attnverify.check.settings import Settings
from attnverify.check.shrink import shrink
from attnverify.errors import LoadError, ParameterError, RefutedError, ReportError, SubjectError
from attnverify.inputs.corners import CORNERS
from attnverify.verdict import Report, Status, Verdict, Witness

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scores(q: Any, k: Any) -> Any:
    return q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5


def softmax(s: Any) -> Any:
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def right(q: Any, k: Any, v: Any) -> Any:
    return softmax(scores(q, k)) @ v


def right_vjp(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    a = softmax(scores(q, k))
    d_a = d_out @ v.swapaxes(-1, -2)
    d_s = a * (d_a - (a * d_a).sum(-1, keepdims=True)) / q.dtype.type(q.shape[-1] ** 0.5)
    return d_s @ k, d_s.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ d_out


def causal(q: Array, k: Array, v: Array) -> Array:
    s = scores(q, k)
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    result: Array = softmax(np.where(j <= i, s, -np.inf)) @ v
    return result


def statuses(report: Report) -> dict[str, str]:
    return {verdict.name: verdict.status.value for verdict in report.verdicts}


def compared(report: Report) -> dict[str, str]:
    """The comparisons with the oracle, and that there was none."""
    told = statuses(report).items()
    return {n: s for n, s in told if n.startswith(("forward", "backward", "gradients (float"))}


def named(report: Report, name: str) -> Verdict:
    return next(verdict for verdict in report.verdicts if verdict.name == name)


HELD = {
    "forward O (float32)": "HELD",
    "backward dQ (float32)": "HELD",
    "backward dK (float32)": "HELD",
    "backward dV (float32)": "HELD",
}


def test_a_right_function_is_held_forward_and_backward() -> None:
    report = av.check(right, "global", vjp=right_vjp).raise_if_refuted()
    assert compared(report) == HELD
    forward = report.verdicts[0]
    assert forward.cases == CASES + len(CORNERS)
    assert "batch 1..3" in forward.scope
    assert 0 < forward.evidence["worst"] < 6
    assert forward.evidence["entries"] > 1000
    assert not Path(".attnverify").exists()


def test_a_function_in_autograd_numpy_is_held_backward_without_a_vjp() -> None:
    def traced(q: Any, k: Any, v: Any) -> Any:
        s = anp.matmul(q, anp.swapaxes(k, -1, -2)) / q.shape[-1] ** 0.5
        e = anp.exp(s - anp.max(s, axis=-1, keepdims=True))
        return anp.matmul(e / anp.sum(e, axis=-1, keepdims=True), v)

    assert compared(av.check(traced, "global", cases=12)) == HELD


def test_a_plain_function_without_a_vjp_says_that_backward_was_not_judged() -> None:
    report = av.check(causal, "causal", cases=12)
    assert report.ok
    assert compared(report) == {"forward O (float32)": "HELD", "gradients (float32)": "UNDECIDED"}
    assert "no VJP was given" in named(report, "gradients (float32)").detail


def test_the_report_says_what_was_judged() -> None:
    report = av.check(causal, "causal", cases=2, subject_name="mine:causal")
    section = report.sections[0]
    assert (section.spec, section.subject) == ("causal", "mine:causal")
    assert [row["name"] for row in section.figures["equations"]] == ["S", "A", "L", "O"]
    assert [row["name"] for row in section.figures["gradient"]][-1] == "dV"
    assert report.environment["numpy"] == np.__version__
    assert Report.from_json(report.to_json()).verdicts[0].name == "forward O (float32)"


# Mutants of the forward pass


def sees_one_future_key(q: Array, k: Array, v: Array) -> Array:
    s = scores(q, k)
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    result: Array = softmax(np.where(j <= i + 1, s, -np.inf)) @ v
    return result


def bottom_right(q: Array, k: Array, v: Array) -> Array:
    s = scores(q, k)
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    shown = np.where(j <= i + s.shape[-1] - s.shape[-2], s, -np.inf)
    top = np.where(np.isfinite(shown.max(-1, keepdims=True)), shown.max(-1, keepdims=True), 0)
    e = np.exp(shown - top)
    result: Array = e / np.maximum(e.sum(-1, keepdims=True), np.float32(1e-30)) @ v
    return result


def unscaled(q: Array, k: Array, v: Array) -> Array:
    result: Array = softmax(q @ k.swapaxes(-1, -2)) @ v
    return result


def scaled_by_values(q: Array, k: Array, v: Array) -> Array:
    result: Array = softmax(q @ k.swapaxes(-1, -2) / v.shape[-1] ** 0.5) @ v
    return result


def off_by_one_percent(q: Array, k: Array, v: Array) -> Array:
    result: Array = softmax(scores(q, k) * np.float32(1.01)) @ v
    return result


def drops_the_last_key(q: Array, k: Array, v: Array) -> Array:
    n = max(1, k.shape[-2] - 1)
    result: Array = softmax(scores(q, k[..., :n, :])) @ v[..., :n, :]
    return result


def over_queries(q: Array, k: Array, v: Array) -> Array:
    s = scores(q, k).swapaxes(-1, -2)
    result: Array = softmax(s).swapaxes(-1, -2) @ v
    return result


def overflows(q: Array, k: Array, v: Array) -> Array:
    e = np.exp(scores(q, k))
    result: Array = e / e.sum(-1, keepdims=True) @ v
    return result


def only_multiples_of_16(q: Array, k: Array, v: Array) -> Array:
    n = k.shape[-2]
    cut = n if n % 16 == 0 or n < 16 else n - n % 16
    result: Array = softmax(scores(q, k[..., :cut, :])) @ v[..., :cut, :]
    return result


def first_head_for_all(q: Array, k: Array, v: Array) -> Array:
    result: Array = softmax(scores(q, np.broadcast_to(k[:, :1], k.shape))) @ v
    return result


def in_sixteen_bits(q: Array, k: Array, v: Array) -> Array:
    result: Array = softmax(scores(q, k)).astype(np.float16).astype(q.dtype) @ v
    return result


MUTANTS: list[tuple[Callable[..., Any], str, dict[str, int]]] = [
    (sees_one_future_key, "causal", {"queries": 1, "keys": 2}),
    (bottom_right, "causal", {}),
    (unscaled, "global", {"queries": 1, "keys": 2, "key_dim": 2}),
    (scaled_by_values, "global", {"queries": 1, "keys": 2}),
    (off_by_one_percent, "global", {"queries": 1, "keys": 2, "key_dim": 1}),
    (drops_the_last_key, "global", {"queries": 1, "keys": 2}),
    (over_queries, "global", {}),
    (overflows, "global", {}),
    (only_multiples_of_16, "global", {"queries": 1, "key_dim": 1}),
    (first_head_for_all, "global", {"heads": 2, "queries": 1, "keys": 2}),
    (in_sixteen_bits, "global", {"queries": 1}),
]


@pytest.mark.parametrize(("fn", "spec", "shape"), MUTANTS, ids=[m[0].__name__ for m in MUTANTS])
def test_mutants_are_refuted_at_a_small_shape(
    fn: Callable[..., Any], spec: str, shape: dict[str, int]
) -> None:
    verdict = named(av.check(fn, spec, cases=9, explain=False), "forward O (float32)")
    assert verdict.status is Status.REFUTED
    assert verdict.witness is not None
    assert {axis: verdict.witness.sizes[axis] for axis in shape} == shape
    assert verdict.detail.startswith("smallest shape batch=")
    assert verdict.witness.tensor == "O"


# Mutants of the backward pass


def without_row_term(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    a = softmax(scores(q, k))
    d_s = a * (d_out @ v.swapaxes(-1, -2)) / q.dtype.type(q.shape[-1] ** 0.5)
    return d_s @ k, d_s.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ d_out


def last_row_missing(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    less = d_out.copy()
    less[..., -1, :] = 0
    return right_vjp(d_out, q, k, v)[0], right_vjp(less, q, k, v)[1], right_vjp(d_out, q, k, v)[2]


def wrong_sign(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    d_q, d_k, d_v = right_vjp(d_out, q, k, v)
    return d_q, -d_k, d_v


def swapped(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    d_q, d_k, d_v = right_vjp(d_out, q, k, v)
    return d_q, d_v, d_k


VJPS: list[tuple[Callable[..., Any], set[str]]] = [
    (without_row_term, {"dQ", "dK"}),
    (last_row_missing, {"dK"}),
    (wrong_sign, {"dK"}),
    (swapped, {"dK", "dV"}),
]


@pytest.mark.parametrize(("vjp", "wrong"), VJPS, ids=[m[0].__name__ for m in VJPS])
def test_wrong_gradients_are_refuted_where_they_are_wrong(
    vjp: Callable[..., Any], wrong: set[str]
) -> None:
    report = av.check(right, "global", vjp=vjp, cases=9)
    refuted = {v.name.split()[1] for v in report.verdicts if v.status is Status.REFUTED}
    assert refuted == wrong


# What a refutation carries


def test_a_witness_is_small_kept_and_replayed() -> None:
    report = av.check(
        sees_one_future_key, "causal", subject_name="mine.py:wrong", cases=9, explain=False
    )
    verdict = report.verdicts[0]
    assert not report.ok
    witness = verdict.witness
    assert witness is not None
    assert witness.path is not None
    assert witness.index == {"batch": 0, "heads": 0, "queries": 0, "value_dim": 0}
    assert set(witness.arrays["V"].ravel().tolist()) <= {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert (
        "of 1 entries fail; first wrong entry [batch=0, heads=0, queries=0, value_dim=0]: got"
        in verdict.detail
    )
    words = shlex.split(verdict.replay)
    assert words[:4] == ["attnverify", "check", "mine.py:wrong", "--spec"]
    assert words[-2:] == ["--replay", witness.path]
    again = av.check(sees_one_future_key, "causal", replay=words[-1], explain=False)
    assert again.verdicts[0].status is Status.REFUTED
    assert again.verdicts[0].witness is not None
    assert again.verdicts[0].witness.got == witness.got
    assert again.verdicts[0].replay.endswith(witness.path)
    assert av.check(causal, "causal", replay=words[-1]).ok


def test_a_replay_has_the_cotangents_and_the_parameters() -> None:
    def window(q: Array, k: Array, v: Array, window: int) -> Array:
        s = scores(q, k)
        i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
        result: Array = softmax(np.where((j <= i) & (i - j <= window), s, -np.inf)) @ v
        return result

    report = av.check(window, "sliding_window", cases=9, explain=False)
    witness = report.verdicts[0].witness
    assert witness is not None
    assert "window=" in report.verdicts[0].detail
    assert int(witness.arrays["window"]) >= 1
    again = av.check(window, "sliding_window", replay=witness.path, explain=False)
    assert again.verdicts[0].status is Status.REFUTED

    wrong = av.check(right, "global", vjp=wrong_sign, cases=9)
    kept = named(wrong, "backward dK (float32)").witness
    assert kept is not None
    assert "dO" in kept.arrays
    assert (
        statuses(av.check(right, "global", vjp=wrong_sign, replay=kept.path))[
            "backward dK (float32)"
        ]
        == "REFUTED"
    )


def test_bfloat16_witnesses_replay_in_their_own_type() -> None:
    def zeros(q: Array, _k: Array, v: Array) -> Array:
        return np.zeros((*q.shape[:-1], v.shape[-1]), q.dtype)

    report = av.check(zeros, "global", dtypes=("bfloat16",), cases=4, explain=False)
    witness = report.verdicts[0].witness
    assert witness is not None
    again = av.check(zeros, "global", explain=False, replay=witness.path)
    assert again.verdicts[0].name == "forward O (bfloat16)"
    assert again.verdicts[0].status is Status.REFUTED


def test_a_file_that_is_no_witness_of_the_spec_is_refused(tmp_path: Path) -> None:
    path = Witness(arrays={"X": np.zeros(2)}).save(tmp_path / "x.npz")
    with pytest.raises(ReportError, match="none for this spec"):
        av.check(causal, "causal", replay=path)


def test_a_store_that_cannot_be_written_costs_the_arrays_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    report = av.check(unscaled, "global", store=tmp_path / "file", cases=12, explain=False)
    assert report.verdicts[0].status is Status.REFUTED
    assert "could not be kept" in report.verdicts[0].detail


def test_the_command_tells_every_setting() -> None:
    settings = Settings(
        causal, av.load("causal", align="bottom_right"), "torch", "b n (h d)", {"is_causal": True},
        {"mask": "m"}, sizes={"heads": 2}, internal="float32", empty_rows="zeros",
        values={"align": "bottom_right"}, subject_name="m:f",
    )  # fmt: skip
    words = shlex.split(settings.command("float64", "w.npz"))
    told = dict(zip(words[3::2], words[4::2], strict=True))
    assert told == {
        "--spec": "causal", "--framework": "torch", "--layout": "b n (h d)", "--dtype": "float64",
        "--kwargs": '{"is_causal": true}', "--inputs": '{"mask": "m"}', "--sizes": '{"heads": 2}',
        "--set": "align=bottom_right", "--internal": "float32", "--empty-rows": "zeros",
        "--replay": "w.npz",
    }  # fmt: skip
    assert json.loads(told["--kwargs"]) == {"is_causal": True}


def test_from_python_a_refutation_raises_with_its_witness() -> None:
    with pytest.raises(RefutedError) as caught:
        av.check(unscaled, "global", cases=9, explain=False).raise_if_refuted()
    assert "forward O (float32)" in str(caught.value)
    assert "keys=2" in str(caught.value)
    assert "--replay" in str(caught.value)


def test_verdicts_are_told_as_they_come() -> None:
    told: list[tuple[str, str]] = []
    report = av.check(causal, "causal", cases=2, dtypes=("float32", "float64"),
                      on_verdict=lambda title, one: told.append((title, one.name)))  # fmt: skip
    assert told == [("causal", verdict.name) for verdict in report.verdicts]
    assert [name for _, name in told if name in compared(report)] == [
        "forward O (float32)", "gradients (float32)", "forward O (float64)", "gradients (float64)",
    ]  # fmt: skip


# Settings


def test_layouts_sizes_and_names() -> None:
    def merged(query: Array, key: Array, value: Array) -> Array:
        q, k, v = (np.moveaxis(x.reshape(*x.shape[:2], 2, -1), 2, 1) for x in (query, key, value))
        out: Array = np.moveaxis(right(q, k, v), 1, 2)
        return out.reshape(*query.shape[:2], -1)

    names = {"Q": "query", "K": "key", "V": "value"}
    report = av.check(
        merged, "cross", layout="b n (h d)", sizes={"heads": 2}, inputs=names, cases=12
    )
    assert report.verdicts[0].status is Status.HELD
    assert "heads 2..2" in report.verdicts[0].scope


def test_weights_may_be_judged_too() -> None:
    def both(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        a = softmax(scores(q, k))
        return a @ v, a

    report = av.check(both, "global", outputs=("O", "A"), cases=12)
    assert statuses(report)["forward A (float32)"] == "HELD"
    scaled = av.check(
        lambda q, k, v: (right(q, k, v), 2 * both(q, k, v)[1]),
        "global",
        outputs=("O", "A"),
        cases=12,
    )
    assert statuses(scaled)["forward A (float32)"] == "REFUTED"
    assert statuses(scaled)["forward O (float32)"] == "HELD"


def masked(q: Array, k: Array, v: Array, mask: Array, *, empty: float) -> Array:
    s = np.where(mask, scores(q, k), np.float32(-1e30))
    out: Array = np.where(mask.any(-1, keepdims=True), softmax(s) @ v, np.float32(empty))
    return out


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "zeros"), (np.nan, "NaN"), (1.0, "other finite values")]
)
def test_rows_without_keys_are_observed_and_judged_when_declared(value: float, words: str) -> None:
    kwargs = {"empty": value}
    report = av.check(masked, "masked", kwargs=kwargs, cases=18, explain=False)
    note = named(report, "rows without keys (float32)")
    assert note.status is Status.UNDECIDED
    assert f"the subject gives {words} there" in note.detail
    assert report.ok
    declared = av.check(masked, "masked", kwargs=kwargs, cases=18, empty_rows="zeros")
    assert declared.ok is (value == 0.0)


def by_convention(q: Array, k: Array, v: Array, *, mask: Array, gives: str) -> Array:
    values = {"zeros": 0 * v, "nan": np.nan * v, "uniform": 0 * v + v.mean(-2, keepdims=True)}
    empty = values[gives][..., :1, :] + np.zeros_like(q[..., :1])
    s = np.where(mask, scores(q, k), np.float32(-1e30))
    return np.where(mask.any(-1, keepdims=True), softmax(s) @ v, empty).astype(q.dtype)  # type: ignore[no-any-return]  # as the formula gives


@pytest.mark.parametrize("gives", ["zeros", "nan", "uniform"])
@pytest.mark.parametrize("declared", ["zeros", "nan", "uniform"])
def test_each_convention_for_rows_without_keys_may_be_declared(gives: str, declared: str) -> None:
    settings = {"kwargs": {"gives": gives}, "cases": 18, "empty_rows": declared, "explain": False}
    forward = av.check(by_convention, "masked", **settings).verdicts[0]  # type: ignore[arg-type]  # a table of settings
    assert (forward.status is Status.HELD) is (gives == declared)


def raises_on_three(q: Array, k: Array, v: Array) -> Array:
    if k.shape[-2] >= 3:
        raise ValueError("too many keys")
    return right(q, k, v)  # type: ignore[no-any-return]  # as the formula gives


def of_wrong_shape(q: Array, k: Array, v: Array) -> Array:
    return right(q, k, v).sum(-1)  # type: ignore[no-any-return]  # as the formula gives


def of_wide_type(q: Array, k: Array, v: Array) -> Array:
    return right(q, k, v).astype(np.float64)  # type: ignore[no-any-return]  # as the formula gives


def of_nan(q: Array, k: Array, v: Array) -> Array:
    return right(q, k, v) * np.float32(np.nan)  # type: ignore[no-any-return]  # as the formula gives


FAULTS: list[tuple[Callable[..., Any], str]] = [
    (raises_on_three, "the subject raised ValueError: too many keys"),
    (of_wrong_shape, "shape (1, 1, 1), due (1, 1, 1, 1)"),
    (of_wide_type, "dtype float64, due float32"),
    (of_nan, "1 entries are NaN or infinite where a finite value is due"),
    (lambda *_: None, "returned a builtins.NoneType"),
]


@pytest.mark.parametrize(("fn", "words"), FAULTS)
def test_faults_are_refuted_in_words(fn: Callable[..., Any], words: str) -> None:
    verdict = av.check(fn, "global", cases=12, explain=False).verdicts[0]
    assert verdict.status is Status.REFUTED
    assert words in verdict.detail


def test_a_fault_that_needs_a_size_is_found_at_that_size() -> None:
    verdict = av.check(raises_on_three, "global", cases=9, explain=False).verdicts[0]
    assert "batch=1 heads=1 queries=1 key_dim=1 keys=3 value_dim=1" in verdict.detail
    assert verdict.witness is not None
    assert verdict.witness.path is not None


def test_a_call_that_never_fits_is_an_error_in_words() -> None:
    with pytest.raises(SubjectError, match="unexpected keyword argument 'scale'"):
        av.check(causal, "causal", kwargs={"scale": 1})


def test_nothing_judged_is_undecided_and_not_ok() -> None:
    """With scores in the tens of thousands bfloat16 has no digits left to be judged by."""
    steep = av.attention("steep", scale=10**6)

    def fn(q: Array, k: Array, v: Array) -> Array:
        s = q.astype(float) @ k.astype(float).swapaxes(-1, -2) * 10**6
        out: Array = (softmax(s) @ v.astype(float)).astype(q.dtype)
        return out

    report = av.check(fn, steep, dtypes=("bfloat16",), cases=3)
    assert report.verdicts[0].status is Status.UNDECIDED
    assert "lose their meaning in bfloat16" in report.verdicts[0].detail
    assert not report.ok


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"framework": "caffe"}, ParameterError, "an unknown framework"),
    ({"dtypes": ("float8",)}, ParameterError, "an unknown float type"),
    ({"layout": "b n"}, ParameterError, "fits no input"),
    ({"empty_rows": "ones"}, ParameterError, "cannot be judged"),
    ({"empty_rows": "uniform"}, ParameterError, "every row sees a key"),
    ({"internal": "float64"}, ParameterError, "wider than"),
    ({"sizes": {"tokens": 3}}, ParameterError, "an axis that the spec lacks"),
    ({"window": 3}, ParameterError, "window"),
    ({"replay": "none.npz"}, ReportError, "cannot be read"),
]


@pytest.mark.parametrize(("settings", "error", "words"), BAD)
def test_wrong_settings_are_refused_in_words(
    settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        av.check(causal, "causal", **settings)


def test_a_spec_that_does_not_load_is_refused() -> None:
    with pytest.raises(LoadError, match="did you mean causal"):
        av.check(causal, "casual")


def test_a_subject_has_a_name_of_its_own() -> None:
    assert Settings(causal, av.load("causal")).name == f"{__name__}:causal"
    assert Settings(np.exp, av.load("causal")).name.endswith("exp")


def test_shrinking_stops_in_time() -> None:
    from attnverify.check.judge import Judge
    from attnverify.inputs import Draw
    from attnverify.subjects import subject

    spec = av.load("global")
    judge = Judge(spec, subject(only_multiples_of_16, spec), "float32")
    draw = Draw(spec, dtype="float32")
    case = draw.case({"queries": 5, "keys": 37, "key_dim": 4, "value_dim": 3}, seed=0)
    judge.look(case)
    name = "forward O (float32)"
    assert shrink(judge, draw, {name: case}, seconds=0.0)[name].sizes == case.sizes
    small = shrink(judge, draw, {name: case}, seconds=60.0)[name].sizes
    assert (small["queries"], small["keys"]) == (1, 17)


def test_importing_the_judge_loads_no_framework() -> None:
    asked = "import sys, attnverify.check; print({'torch', 'jax', 'hypothesis'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def in_float32(q: Array, k: Array, v: Array) -> Array:
    """Right attention whose arithmetic is float32 inside float64."""
    kind = q.dtype
    if kind == np.float64:
        q, k, v = (x.astype(np.float32) for x in (q, k, v))
    found: Array = right(q, k, v).astype(kind)
    return found


def test_a_type_inside_counts_for_wider_arrays_alone() -> None:
    how: dict[str, Any] = {"cases": 4, "explain": False, "internal": "float32"}
    report = av.check(in_float32, "global", dtypes=("float64", "float16"), **how)
    assert {v.status for v in report.comparisons} == {Status.HELD}
    with pytest.raises(ParameterError, match="float32 inside float16, bfloat16"):
        av.check(in_float32, "global", dtypes=("float16", "bfloat16"), **how)
    assert not av.check(half, "global", dtypes=("float64",), **how).ok


def half(q: Array, k: Array, v: Array) -> Array:
    """Attention whose arithmetic is float16 inside any type."""
    kind = q.dtype
    found: Array = right(*(x.astype(np.float16) for x in (q, k, v))).astype(kind)
    return found
