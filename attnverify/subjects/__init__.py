"""Subjects: wrap a foreign function so that it can be asked by the spec's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from attnverify.dtypes import FloatType, float_type, input_types
from attnverify.errors import ParameterError
from attnverify.library import resolve_subject
from attnverify.subjects.answerer import Answerer, Pair
from attnverify.subjects.base import Plan, Subject
from attnverify.subjects.faults import SubjectFault, SubjectGone, WrongForm
from attnverify.subjects.outputs import Outputs, checked, named_outputs

if TYPE_CHECKING:
    from attnverify.spec import Spec
    from attnverify.subjects.layout import Layout

# Each module imports its framework, so it is imported when it is asked for.
FRAMEWORKS = {
    "numpy": "numpy:NumpySubject",
    "torch": "torch:TorchSubject",
    "jax": "jax:JaxSubject",
    "keras": "keras:KerasSubject",
    "mlx": "mlx:MlxSubject",
    "onnx": "onnx:ReferenceSubject",
    "onnxruntime": "onnx:RuntimeSubject",
    "array_api": "array_api:ArrayApiSubject",
}
# Frameworks whose subject is a model: where it is given by text, that is a path.
MODELS = frozenset({"onnx", "onnxruntime"})
# Packages whose versions tell what ran, where the framework's name is not enough.
PACKAGES = {"keras": ("keras", "jax"), "onnxruntime": ("onnx", "onnxruntime")}


def subject(
    fn: Any,
    spec: Spec,
    *,
    framework: str = "numpy",
    layout: str | Mapping[str, str] | None = None,
    dtype: str = "float32",
    kwargs: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    vjp: Callable[..., Any] | None = None,
    outputs: Outputs = (),
    device: str = "",
    packed: Mapping[str, str] | None = None,
    types: Mapping[str, str] | None = None,
) -> Subject:
    """Wrap `fn` as a subject for `spec`.

    The first three inputs go by position, further ones and open parameters by keyword, under the
    names that `inputs` maps them to.  `vjp(dO, q, k, v, ...)` returns gradients where the
    framework has no autodiff.  "array_api" takes the array library after a colon, as in
    "array_api:torch" (NumPy without one); for "onnx" and "onnxruntime" `fn` is a model: a file, a
    ModelProto or a NodeProto.  Raises ParameterError for an unknown framework, dtype, layout or
    device, MissingExtraError where it is not installed.

    >>> import numpy as np
    >>> from attnverify import load
    >>> double = subject(lambda q, k, v: 2 * v, load("global"))
    >>> one = np.ones((1, 1, 1, 1), "float32")
    >>> double.forward({"Q": one, "K": one, "V": one}, {})["O"].item()
    2.0
    """
    made = plan(
        spec,
        framework=framework,
        layout=layout,
        dtype=dtype,
        kwargs=kwargs,
        inputs=inputs,
        outputs=outputs,
        device=device,
        packed=packed,
        types=types,
    )
    return wrapper(framework)(fn, made, vjp)


def plan(
    spec: Spec,
    *,
    framework: str = "numpy",
    layout: str | Mapping[str, str] | None = None,
    dtype: str = "float32",
    kwargs: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    outputs: Outputs = (),
    device: str = "",
    packed: Mapping[str, str] | None = None,
    types: Mapping[str, str] | None = None,
) -> Plan:
    """How a subject for `spec` is called; ParameterError for an unknown dtype or layout."""
    # SymPy stays out of a subject's process, which makes its plans without a layout.
    from attnverify.subjects.layout import Layout  # noqa: PLC0415
    from attnverify.subjects.packing import PackedLayout  # noqa: PLC0415

    return Plan(
        spec,
        PackedLayout(spec, layout, packed) if packed else Layout(spec, layout),
        float_type(dtype).name,
        dict(kwargs or {}),
        dict(inputs or {}),
        checked(outputs, spec),
        device,
        framework.partition(":")[2],
        {name: kind.name for name, kind in typed(spec, types or {}, dtype).items()},
    )


def typed(spec: Spec, types: Mapping[str, str], dtype: str) -> dict[str, FloatType]:
    """The inputs of a spec with a type of their own; ParameterError for what is no real input.

    >>> from attnverify import load
    >>> list(typed(load("global"), {"V": "float8_e4m3fn"}, "bfloat16"))
    ['V']
    """
    real = [entry.tensor.name for entry in spec.inputs if entry.tensor.kind == "real"]
    for name in types:
        if name not in real:
            raise ParameterError(
                "only a real input has a float type",
                spec=spec.name,
                found=name,
                due=", ".join(real),
            )
    return input_types(types, dtype)


def resolved(name: str, framework: str) -> Any:
    """What a name stands for: a model's path is its own name, a function is imported by its."""
    return name if framework in MODELS else resolve_subject(name)


def own_layout(fn: Any, spec: Spec, framework: str) -> Mapping[str, str] | None:
    """How a subject lays out the spec's arrays, where it says so itself; None where it does not.

    >>> from attnverify import load
    >>> own_layout(len, load("global"), "numpy")
    """
    if framework not in MODELS or not spec.name.startswith("onnx_"):
        return None
    found: Mapping[str, str] | None = import_module("attnverify.subjects.onnx").own_layout(fn, spec)
    return found or None


def packages(framework: str) -> tuple[str, ...]:
    """The packages whose versions say what a framework's subject ran with.

    >>> packages("array_api:torch")
    ('array_api_compat', 'torch')
    """
    name, _, library = framework.partition(":")
    if name == "array_api":
        return ("array_api_compat", library.partition(".")[0] or "numpy")
    return PACKAGES.get(name, (name,))


def wrapper(framework: str) -> type[Subject]:
    """The class for a framework; importing it imports the framework."""
    name, _, _ = framework.partition(":")
    # No other framework takes a library after a colon.
    name = name if name == "array_api" else framework
    if name not in FRAMEWORKS:
        due = ", ".join(FRAMEWORKS)
        raise ParameterError("an unknown framework", found=repr(framework), due=due)
    file, _, kind = FRAMEWORKS[name].partition(":")
    found: type[Subject] = getattr(import_module(f"attnverify.subjects.{file}"), kind)
    return found


def __getattr__(name: str) -> Any:
    """`Layout`, loaded when it is first used: it needs SymPy, and a subject's process does not."""
    if name == "Layout":
        return import_module("attnverify.subjects.layout").Layout
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "FRAMEWORKS",
    "MODELS",
    "Answerer",
    "Layout",
    "Outputs",
    "Pair",
    "Plan",
    "Subject",
    "SubjectFault",
    "SubjectGone",
    "WrongForm",
    "named_outputs",
    "own_layout",
    "packages",
    "plan",
    "resolved",
    "subject",
    "typed",
    "wrapper",
]
