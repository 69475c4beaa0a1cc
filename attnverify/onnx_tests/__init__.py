"""Node tests in ONNX's own format, from a node or from a variant that an operator computes.

Inputs are signed and drawn so that wrong attentions show; tolerances are derived, not typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from attnverify.compare import judge
from attnverify.compile import compile as compile_spec
from attnverify.dtypes import float_type
from attnverify.errors import ParameterError
from attnverify.inputs import Case, Support
from attnverify.inputs.corners import WIDE
from attnverify.library import load
from attnverify.onnx import Bound, bind
from attnverify.onnx_tests.cases import Cases
from attnverify.onnx_tests.files import written
from attnverify.onnx_tests.operators import of_spec
from attnverify.rounding import Rounding
from attnverify.spec import Spec
from attnverify.subjects.layout import Layout
from attnverify.verdict import Status

__all__ = ["onnx_tests"]


def onnx_tests(
    source: Any,
    directory: str | PathLike[str],
    *,
    name: str = "",
    dtype: str = "float32",
    cases: int = 4,
    seed: int = 0,
    sizes: Support | None = None,
    types: Mapping[str, Any] | None = None,
    opset: int | None = None,
    internal: str | None = None,
    **params: Any,
) -> list[Path]:
    """Write node tests for `source` in ONNX's own format; the folders that were written.

    `source` is a node or a model as `from_onnx` takes it, with `types` and `opset`; or a spec, or
    the name of one with its choices and parameters, that an operator of ONNX computes. Each of the
    `cases` is a folder `test_NAME_N` with `model.onnx`, `test_data_set_0` and `data.json`, which
    has the tolerances that ONNX's own runner compares with and the wrong attentions that the case
    refutes under them: inputs or scores without their sign. `dtype` is the type of the arrays,
    `sizes` restricts what is drawn as in `check`, `internal` declares a narrower type inside.

    Raises ParameterError for a spec that no operator computes or a node that is not mapped,
    LoadError for a name that does not load, ReportError for a folder that cannot be written,
    MissingExtraError without onnx.
    Source: https://github.com/onnx/onnx/blob/main/docs/OnnxBackendTest.md.

    >>> folders = onnx_tests("causal", "node", cases=2)
    >>> [folder.name for folder in folders]
    ['test_causal_0', 'test_causal_1']
    """
    bound, spec = _bound(source, types, opset, params)
    fixed = {axis.name: axis.fixed for axis in bound.spec.axes if axis.fixed is not None}
    fixed = {name: size for name, size in fixed.items() if name in {a.name for a in spec.axes}}
    drawn = Cases(spec, dtype, {**fixed, **(sizes or {})}, internal or _narrower(bound, dtype))
    found = drawn.kept(cases, seed)
    if not found:
        raise ParameterError(
            "no draw can be judged",
            spec=spec.name,
            found=dtype,
            hint="give a wider dtype, or other sizes",
        )
    if spec is not bound.spec:
        wide = drawn.draw.cornered(WIDE, seed)
        for case in (wide, *(kept.case for kept in found)):
            _same(bound, spec, case, dtype)
    layout = Layout(spec, {n: p for n, p in bound.layout.items() if n in spec.heads} or None)
    title = name or (spec.name if isinstance(source, str | Spec) else bound.spec.name)
    return [
        written(Path(directory) / f"test_{title}_{number}", bound, kept, layout, spec.text())
        for number, kept in enumerate(found)
    ]


def _bound(
    source: Any, types: Mapping[str, Any] | None, opset: int | None, params: Mapping[str, Any]
) -> tuple[Bound, Spec]:
    """The node, and the spec whose values are due."""
    if isinstance(source, str) and not source.endswith(".onnx"):
        source = load(source, **params)
    if isinstance(source, Spec):
        if source.parameters:
            raise ParameterError(
                "a test has numbers for all parameters",
                spec=source.name,
                found=", ".join(parameter.name for parameter in source.parameters),
                hint="give them: onnx_tests(name, directory, window=3)",
            )
        return of_spec(source, {**source.choices, **params}), source
    bound = bind(source, types=types, opset=opset)
    return bound, bound.spec


def _narrower(bound: Bound, dtype: str) -> str | None:
    """The type that the node computes weights in, where it is narrower than its arrays."""
    inside = bound.internal
    return inside if inside and _rough(inside) > _rough(dtype) else None


def _rough(dtype: str) -> float:
    return float(float_type(dtype).roundoff)


def _same(bound: Bound, spec: Spec, case: Case, dtype: str) -> None:
    """Refuse a spec that the node does not compute, as another member of a known family may be."""
    known = {entry.tensor.name for entry in bound.spec.inputs}
    arrays = dict(case.arrays)
    if "mask" in known - set(arrays):
        arrays["mask"] = np.ones(arrays["bias"].shape, np.bool_)
    wide = {n: a.astype(float) if a.dtype.kind in "fV" else a for n, a in arrays.items()}
    values = compile_spec(bound.spec)(**wide)
    dues = Rounding(spec, dtype).expected(case.arrays, {}, sizes=case.sizes).dues
    for output in set(bound.outputs.values()) & set(dues):
        verdict = judge(output, values[output], dues[output])
        if verdict.status is Status.REFUTED:
            raise ParameterError(
                "the operator computes another function than this spec",
                spec=spec.name,
                found=verdict.detail,
                hint="give the node: a NodeProto, or a model with one node",
            )
