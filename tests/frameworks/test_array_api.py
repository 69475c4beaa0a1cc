"""One implementation by the array API standard is judged on NumPy, PyTorch and JAX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat
import pytest

import attnverify as av
from attnverify.errors import MissingExtraError, ParameterError
from attnverify.verdict import Report, Status

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")
pytest.importorskip("jax")

LIBRARIES = ("numpy", "torch", "jax.numpy")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def attention(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
    """Masked attention by the standard alone."""
    xp = array_api_compat.array_namespace(q, k, v)
    scores = q @ xp.matrix_transpose(k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = xp.where(mask, scores, xp.asarray(-xp.inf, dtype=scores.dtype))
    weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    return weights / xp.sum(weights, axis=-1, keepdims=True) @ v


def vjp(d_out: Any, q: Any, k: Any, v: Any) -> Any:
    xp = array_api_compat.array_namespace(d_out, q, k, v)
    turned = xp.matrix_transpose
    scores = q @ turned(k) * q.shape[-1] ** -0.5
    weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    weights = weights / xp.sum(weights, axis=-1, keepdims=True)
    of_weights = d_out @ turned(v)
    row_term = xp.sum(of_weights * weights, axis=-1, keepdims=True)
    of_scores = weights * (of_weights - row_term) * q.shape[-1] ** -0.5
    return of_scores @ k, turned(of_scores) @ q, turned(weights) @ d_out


def judged(
    fn: Callable[..., Any], spec: str = "global", library: str = "numpy", **settings: Any
) -> Report:
    return av.check(
        fn, spec, framework=f"array_api:{library}", **{"cases": 6, "explain": False, **settings}
    )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("spec", [pytest.param("global", marks=pytest.mark.slow), "masked"])
def test_attention_is_right_and_its_gradient_is_said_not_to_be_judged(
    spec: str, library: str
) -> None:
    report = judged(attention, spec, library).raise_if_refuted()
    assert report.verdicts[0].status is Status.HELD
    gradients = report.verdicts[-1]
    assert gradients.status is Status.UNDECIDED
    assert "array_api has no autodiff" in gradients.detail
    assert report.environment[library.partition(".")[0]]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_given_vjp_is_judged(library: str, dtype: str) -> None:
    report = judged(attention, "global", library, vjp=vjp, dtypes=(dtype,)).raise_if_refuted()
    assert [v.status for v in report.comparisons] == [Status.HELD] * 4


def test_without_a_library_the_arrays_are_numpy_s() -> None:
    assert av.check(attention, "global", framework="array_api", cases=4).raise_if_refuted().ok


def in_place(q: Any, k: Any, v: Any) -> Any:
    out = attention(q, k, v)
    q[...] = 0
    return out


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "no scale": (
        lambda q, k, v: attention(q * q.shape[-1] ** 0.5, k, v),
        "entries fail; first wrong entry",
    ),
    "another type": (
        lambda q, k, v: array_api_compat.array_namespace(q).astype(
            attention(q, k, v), array_api_compat.array_namespace(q).float64
        ),
        "dtype float64, due float32",
    ),
    "another shape": (lambda q, k, v: attention(q, k, v)[0, ...], "shape ("),
    "an input changed": (in_place, "the subject changed its input Q in place"),
    "no array": (lambda *_: 1.0, "returned a builtins.float for O, due an array of"),
}


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize(("fn", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refuted_in_words(
    fn: Callable[..., Any], words: str, library: str
) -> None:
    forward = judged(fn, library=library).verdicts[0]
    assert forward.status is Status.REFUTED
    assert words in forward.detail


STRAY: dict[str, tuple[Callable[..., Any], str]] = {
    "another library's array": (
        lambda q, k, v: attention(q, k, v).numpy(),
        "the subject returned a numpy.ndarray for O, due an array of torch",
    ),
    "another device": (
        lambda q, k, v: attention(q, k, v).to("meta"),
        "O is on the device meta, due cpu",
    ),
}


@pytest.mark.parametrize(("fn", "words"), STRAY.values(), ids=STRAY)
def test_an_array_from_elsewhere_is_refuted(fn: Callable[..., Any], words: str) -> None:
    forward = judged(fn, library="torch").verdicts[0]
    assert forward.status is Status.REFUTED
    assert words in forward.detail


REFUSED: dict[str, tuple[str, dict[str, Any], type[Exception], str]] = {
    "not installed": ("no_such_arrays", {}, MissingExtraError, "pip install no_such_arrays"),
    "no arrays": ("json", {}, ParameterError, "no arrays of the array API standard"),
    "no such type": ("torch", {"dtypes": ("bfloat16",)}, ParameterError, "no arrays of bfloat16"),
    "cast on the way": ("jax.numpy", {"dtypes": ("float64",)}, ParameterError, "float64"),
    "no such device": ("torch", {"device": "nowhere"}, ParameterError, "a device it has"),
}


@pytest.mark.parametrize(("library", "settings", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_the_library_lacks_is_told(
    library: str, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        judged(attention, library=library, **settings)
