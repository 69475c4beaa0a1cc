"""Subjects in a process of their own: what they do to it, they do to it alone.

This is isolation of faults, not of malice: the process has the rights of whoever started it.
"""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from attnverify.errors import SubjectError
from attnverify.subjects import MODELS
from attnverify.subjects.answerer import Answer, Answerer, Pair
from attnverify.subjects.faults import SubjectFault, SubjectGone
from attnverify.subjects.process import Limits, Process
from attnverify.subjects.protocol import joined, parted

if TYPE_CHECKING:
    from attnverify.subjects.base import Plan
    from attnverify.subjects.ranks import Ranks

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Values = Mapping[str, Any]


class Isolated(Answerer):
    """A subject whose calls go to a process; what comes back is bytes, compared here."""

    def __init__(self, plan: Plan, process: Process | Ranks) -> None:
        self.plan, self.process = plan, process

    def answered(self, laid: Arrays, parameters: Values, *, view: str = "") -> Answer:
        """One call on arrays in the subject's layout."""
        header, found = self._ask("forward", parameters, joined(input=laid), view=view)
        return self._answer(header, found, self._due)

    def pulled(self, laid: Arrays, seeds: Arrays, parameters: Values, *, view: str = "") -> Answer:
        """One call and its gradients."""
        arrays = joined(input=laid, seed=seeds)
        header, found = self._ask("backward", parameters, arrays, view=view)
        # A VJP that is given returns no outputs.
        due = () if self.process.task["vjp"] else self._due
        return self._answer(header, found, due, self.plan.real)

    def paired(self, earlier: Arrays, laid: Arrays, parameters: Values) -> Pair:
        """Two calls in a row."""
        arrays = joined(earlier=earlier, input=laid)
        header, found = self._ask("twice", parameters, arrays)
        parts = parted(found)
        views = tuple((str(out), str(given)) for out, given in header.get("views", ()))
        second = self._answer(header, found, self._due)
        return Pair(parts["first"], parts["later"], second, views, parts["kept"])

    def backward_reason(self, arrays: Arrays, parameters: Values) -> str:
        """Why the backward pass cannot be asked; empty where it can."""
        try:
            self.forward(arrays, parameters)
        except SubjectGone:
            raise
        except SubjectFault:
            # The forward comparison tells it; gradients are asked for all the same.
            pass
        laid = joined(input=self.laid(arrays))
        try:
            return str(self._ask("reason", parameters, laid)[0]["reason"])
        except SubjectGone as gone:
            return f"backward is not judged: when gradients were asked for, {gone.message}"

    def _ask(
        self, what: str, parameters: Values, arrays: Arrays, *, view: str = ""
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        request = {
            "do": what,
            "dtype": self.plan.dtype,
            "parameters": dict(parameters),
            "view": view,
        }
        return self.process.ask(request, arrays)

    @property
    def _due(self) -> tuple[str, ...]:
        """The outputs that are judged."""
        return self.plan.judged

    def _answer(
        self,
        header: Mapping[str, Any],
        arrays: Arrays,
        due: tuple[str, ...],
        slopes: tuple[str, ...] = (),
    ) -> Answer:
        """The answer of a reply; what is missing from it must not pass for judged."""
        parts = parted(arrays)
        told = [str(name) for name in header.get("gradients", ())]
        if set(parts["output"]) != set(due) or set(told) != set(slopes):
            got, wanted = [*parts["output"], *told], [*due, *slopes]
            raise SubjectFault(
                "the subject's process answered for other arrays than it was asked for: "
                f"{', '.join(got) or 'none'}, due {', '.join(wanted)}"
            )
        gradients = {name: parts["gradient"].get(name) for name in told}
        return Answer(parts["output"], gradients, parts["after"])


def process_of(
    fn: Any,
    plan: Plan,
    framework: str,
    vjp: Callable[..., Any] | str | None = None,
    limits: Limits | None = None,
) -> Process:
    """The process for a subject, not yet started; `plan` in any dtype.

    Raises SubjectError for a function or an argument that another process cannot be told of.
    """
    spec, ones = plan.spec, {axis.name: 1 for axis in plan.spec.axes}
    task = {
        "subject": model_path(fn) if framework in MODELS else named(fn),
        "vjp": named(vjp) if vjp is not None else "",
        "framework": framework,
        "spec": spec.name,
        "inputs": [(e.tensor.name, e.tensor.kind) for e in spec.inputs],
        # A model's declared inputs are compared with arrays of one position along each axis.
        "shapes": {e.tensor.name: plan.layout.shape(e.tensor.name, ones) for e in spec.inputs},
        "parameters": [(parameter.name, parameter.integer) for parameter in spec.parameters],
        "outputs": list(spec.outputs),
        "mapped": dict(plan.inputs),
        "named": dict(plan.outputs) if isinstance(plan.outputs, Mapping) else list(plan.outputs),
        "device": plan.device,
        "library": plan.library,
        "types": dict(plan.types),
    }
    try:
        kwargs = pickle.dumps(dict(plan.kwargs))
    except Exception as error:
        raise SubjectError(
            "an argument in kwargs cannot be sent to another process",
            found=f"{type(error).__name__}: {error}",
        ) from error
    return Process(task, kwargs, limits or Limits())


def model_path(fn: Any) -> str:
    """The path by which another process finds a model; SubjectError for one held in memory.

    >>> Path(model_path("model.onnx")).is_absolute()
    True
    """
    if not isinstance(fn, str | PathLike):
        raise SubjectError(
            "a model is isolated by its path, and this one has none",
            found=type(fn).__name__,
            due="the path of a file",
            hint="save it with onnx.save and give the path, or leave out isolate=True",
        )
    return str(Path(fn).resolve())


def named(fn: Callable[..., Any] | str) -> str:
    """The name by which another process finds a function; SubjectError where it has none.

    >>> import numpy as np
    >>> named(np.matmul)
    'numpy:matmul'
    """
    if isinstance(fn, str):
        return fn
    module = sys.modules.get(getattr(fn, "__module__", None) or "")
    attribute = None if module is None else _attribute(fn, module)
    if module is None or attribute is None:
        raise SubjectError(
            "a subject is isolated by its name, and this one has none",
            found=getattr(fn, "__qualname__", type(fn).__name__),
            due="a function at the top of a module",
            hint="move it to a file and name it file.py:function, or leave out isolate=True",
        )
    return f"{_source(module, fn)}:{attribute}"


def _attribute(fn: Callable[..., Any], module: object) -> str | None:
    """The dotted name under which a module holds a function."""
    own = getattr(fn, "__qualname__", "")
    target: Any = module
    for part in own.split("."):
        target = inspect.getattr_static(target, part, None)
    if target is fn or _loaded_again(target, fn):
        return str(own)
    return next((name for name, value in vars(module).items() if value is fn), None)


def _loaded_again(target: Any, fn: Callable[..., Any]) -> bool:
    """Whether both are one function of one file that this process has run more than once."""
    ours, theirs = (getattr(each, "__code__", None) for each in (target, fn))
    return ours is not None and ours == theirs and target.__qualname__ == fn.__qualname__


def _source(module: Any, fn: Callable[..., Any]) -> str:
    """A module of a package by its name, a file on its own by its path."""
    file = getattr(module, "__file__", None)
    alone = not getattr(module, "__package__", None) or module.__name__ == "__main__"
    if alone and file and Path(file).suffix == ".py" and Path(file).is_file():
        return str(Path(file).resolve())
    if module.__name__ == "__main__":
        raise SubjectError(
            "a subject is isolated by its name, and an interactive session has none",
            found=getattr(fn, "__qualname__", type(fn).__name__),
            hint="move it to a file and name it file.py:function, or leave out isolate=True",
        )
    return str(module.__name__)
