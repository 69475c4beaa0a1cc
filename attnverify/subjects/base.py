"""What every subject is: names in, names out, called as it is and never repaired."""

from __future__ import annotations

import traceback
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from attnverify.dtypes import EIGHT_BITS
from attnverify.errors import ParameterError, SubjectError
from attnverify.subjects.answerer import Answer, Answerer, Pair
from attnverify.subjects.faults import SubjectFault as SubjectFault  # noqa: PLC0414  each framework's file takes it from here
from attnverify.subjects.outputs import Outputs, by_place, named_outputs
from attnverify.subjects.views import VIEWS, plainly

if TYPE_CHECKING:
    from attnverify.spec import Spec
    from attnverify.subjects.layout import Layout

Array = NDArray[Any]
Values = Mapping[str, Any]

# A subject is called as attention functions usually are: fn(q, k, v), and everything else by
# keyword.
POSITIONAL = 3


@dataclass(frozen=True)
class Plan:
    """How the subject is called: keyword arguments, names of inputs, names of what it returns.

    `device` is where its arrays lie, empty for the framework's own choice; `library` is whose they
    are, where the framework leaves it open; `types` has the inputs of another float type.
    """

    spec: Spec
    layout: Layout
    dtype: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Outputs = ()
    device: str = ""
    library: str = ""
    types: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = {entry.tensor.name for entry in self.spec.inputs}
        names |= {parameter.name for parameter in self.spec.parameters}
        for name in self.inputs:
            if name not in names:
                raise ParameterError(
                    "the name mapping has an input that the spec lacks",
                    spec=self.spec.name,
                    found=name,
                    due=", ".join(sorted(names)),
                )

    @property
    def judged(self) -> tuple[str, ...]:
        """The outputs that are judged, in order."""
        return named_outputs(self.outputs or self.spec.outputs)

    @property
    def real(self) -> tuple[str, ...]:
        """The inputs that gradients are taken by: real ones, but for those of 8 bits."""
        narrow = {name for name, of in self.types.items() if of in EIGHT_BITS}
        names = (e.tensor.name for e in self.spec.inputs if e.tensor.kind == "real")
        return tuple(name for name in names if name not in narrow)

    def arguments(self, values: Values, parameters: Values) -> tuple[list[Any], dict[str, Any]]:
        """The call: the first three inputs by position unless mapped, the rest by keyword."""
        names = [entry.tensor.name for entry in self.spec.inputs]
        ahead = [name for name in names[:POSITIONAL] if name not in self.inputs]
        if any(name in self.inputs for name in names[: len(ahead)]):
            # After a mapped input, a bare position would mean another argument than it says.
            ahead = names[: next(n for n, name in enumerate(names) if name in self.inputs)]
        by_name = {n: values[n] for n in names if n not in ahead} | dict(parameters)
        keywords = {self.inputs.get(name, name): value for name, value in by_name.items()}
        return [values[name] for name in ahead], {**keywords, **self.kwargs}

    def named(self, result: Any) -> dict[str, Any]:
        """What the subject returned, by the spec's names; SubjectFault for another number."""
        if isinstance(self.outputs, Mapping):
            try:
                return by_place(result, self.outputs)
            except KeyError as error:
                raise SubjectFault(error.args[0]) from None
        due = self.outputs or self.spec.outputs
        if isinstance(result, Mapping):
            missing = [name for name in due if name is not None and name not in result]
            if missing:
                raise SubjectFault(
                    f"the subject returned a mapping without {', '.join(missing)}; "
                    f"it has {', '.join(map(str, result))}"
                )
            return {name: result[name] for name in due if name is not None}
        parts = tuple(result) if isinstance(result, tuple | list) else (result,)
        if len(parts) != len(due):
            wanted = ", ".join(name or "(ignored)" for name in due)
            raise SubjectFault(
                f"the subject returned {len(parts)} values, due {len(due)}: {wanted}"
            )
        return {name: part for name, part in zip(due, parts, strict=True) if name is not None}


class Subject(Answerer):
    """A subject in this process; each framework says how its arrays are made and read.

    `placed` tells that the framework has more devices than one; `views` which ways to lie in memory
    its arrays have, so that they can be put so.
    """

    framework: ClassVar[str]
    immutable: ClassVar[bool] = False
    placed: ClassVar[bool] = False
    views: ClassVar[tuple[str, ...]] = ("reordered",)

    def __init__(
        self, fn: Callable[..., Any], plan: Plan, vjp: Callable[..., Any] | None = None
    ) -> None:
        if not callable(fn):
            raise SubjectError("a subject is a function", found=type(fn).__name__)
        if plan.device not in ("", "cpu") and not self.placed:
            raise ParameterError(
                f"{self.framework} arrays lie on the CPU", found=plan.device, due="cpu"
            )
        self.fn, self.plan, self.vjp = fn, plan, vjp

    def answered(self, laid: Mapping[str, Array], parameters: Values, *, view: str = "") -> Answer:
        """One call on arrays in the subject's layout."""
        with self.scope():
            values = self._lifted(laid, view)
            outputs = self.plan.named(self.call(values, parameters))
            return Answer(self._lowered(outputs), after=self._after(values))

    def pulled(
        self,
        laid: Mapping[str, Array],
        seeds: Mapping[str, Array],
        parameters: Values,
        *,
        view: str = "",
    ) -> Answer:
        """One call and its gradients, from the framework's autodiff or the given VJP."""
        with self.scope():
            values, lifted = self._lifted(laid, view), self._lifted(seeds, view)
            pulled = self.differentiate if self.vjp is None else self._by_given_vjp
            outputs, gradients = pulled(values, lifted, parameters)
            slopes = {
                n: None if g is None else self.lower(g, f"d{n}") for n, g in gradients.items()
            }
            return Answer(self._lowered(outputs), slopes, self._after(values))

    def paired(
        self, earlier: Mapping[str, Array], laid: Mapping[str, Array], parameters: Values
    ) -> Pair:
        """Two calls in a row; the outputs of the first are kept as the subject gave them."""
        with self.scope():
            before = self._lifted(earlier)
            kept = self.plan.named(self.call(before, parameters))
            first = self._lowered(kept)
            values = self._lifted(laid)
            outputs = self.plan.named(self.call(values, parameters))
            second = Answer(self._lowered(outputs), after=self._after(values))
            views = tuple(
                (out, name)
                for out, value in outputs.items()
                for name, given in values.items()
                if self.shares(value, given)
            )
            return Pair(first, self._lowered(kept), second, views, self._after(before))

    def shares(self, _value: Any, _given: Any) -> bool:
        """Whether an output lies in the memory of an input; never where none can be written to."""
        return False

    def call(self, values: Values, parameters: Values) -> Any:
        """Run the function; whatever it raises becomes a SubjectFault in words."""
        args, keywords = self.plan.arguments(values, parameters)
        return guarded(self.fn, *args, **keywords)

    def _by_given_vjp(
        self, values: Values, seeds: Values, parameters: Values
    ) -> tuple[Values, dict[str, Any]]:
        """Call vjp(dO, q, k, v, ...): gradients in the order of the real inputs, or by name."""
        if self.vjp is None:
            raise SubjectFault("no VJP was given")
        args, keywords = self.plan.arguments(values, parameters)
        seed = tuple(seeds.values())
        result = guarded(self.vjp, seed[0] if len(seed) == 1 else seed, *args, **keywords)
        names = self.plan.real
        if isinstance(result, Mapping):
            return {}, {name: result.get(name, result.get(f"d{name}")) for name in names}
        parts = tuple(result) if isinstance(result, tuple | list) else (result,)
        if len(parts) != len(names):
            raise SubjectFault(
                f"the VJP returned {len(parts)} gradients, due {len(names)}: {', '.join(names)}"
            )
        return {}, dict(zip(names, parts, strict=True))

    def _lifted(self, laid: Mapping[str, Array], view: str = "") -> dict[str, Any]:
        copied = VIEWS[view] if view in self.views else plainly
        return {name: self.lift(copied(array)) for name, array in laid.items()}

    def _lowered(self, outputs: Values) -> dict[str, Array]:
        return {name: self.lower(value, name) for name, value in outputs.items()}

    def _after(self, values: Values) -> dict[str, Array]:
        return {} if self.immutable else self._lowered(values)

    def scope(self) -> Any:
        """The settings under which the framework runs."""
        return _Quiet()

    @abstractmethod
    def lift(self, array: Array) -> Any:
        """An array of the framework with the same bits."""

    @abstractmethod
    def lower(self, value: Any, name: str) -> Array:
        """A NumPy array with the same bits; SubjectFault where it is none of the framework's."""

    @abstractmethod
    def differentiate(
        self, values: Values, seeds: Values, parameters: Values
    ) -> tuple[Values, dict[str, Any]]:
        """The outputs, and the gradient by each real input."""


class ForwardOnly(Subject):
    """A subject of a framework without autodiff: gradients come from a given VJP or not at all."""

    def backward_reason(self, _arrays: Mapping[str, Array], _parameters: Values) -> str:
        """Empty with a VJP."""
        if self.vjp is not None:
            return ""
        return f"backward is not judged: no VJP was given, and {self.framework} has no autodiff"

    def differentiate(
        self, _values: Values, _seeds: Values, _parameters: Values
    ) -> tuple[Values, dict[str, Any]]:
        """SubjectFault: there is nothing to differentiate with."""
        raise SubjectFault(self.backward_reason({}, {}))


class _Quiet(warnings.catch_warnings):
    """A subject's own warnings say nothing about its answer."""

    def __enter__(self) -> Any:
        result = super().__enter__()
        warnings.simplefilter("ignore")
        return result


def guarded(fn: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Call foreign code; what it raises becomes a SubjectFault that says it in words."""
    try:
        return fn(*args, **keywords)
    except SubjectFault:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        message = (str(error).strip().splitlines() or [""])[0][:300]
        where = (
            f" ({frames[-1].filename.rpartition('/')[2]}, line {frames[-1].lineno})"
            if len(frames) > 1
            else ""
        )
        raise SubjectFault(
            f"the subject raised {type(error).__name__}: {message}{where}",
            misuse=isinstance(error, TypeError) and len(frames) == 1,
        ) from error


def askable(outputs: Values, seeds: Values) -> None:
    """A gradient needs outputs of the shape that the cotangents have; SubjectFault otherwise."""
    for name, value in outputs.items():
        due = tuple(seeds[name].shape)
        if tuple(value.shape) != due:
            raise SubjectFault(
                f"no gradient can be asked: {name} has shape {tuple(value.shape)}, due {due}"
            )


def returned(value: Any, name: str, due: str) -> SubjectFault:
    """The fault of a value that is no array of the framework."""
    return SubjectFault(
        f"the subject returned a {type(value).__module__}.{type(value).__qualname__} "
        f"for {name}, due {due}"
    )


def on_device(name: str, found: object, due: object) -> None:
    """SubjectFault for an array that does not lie where the inputs do."""
    if found != due:
        raise SubjectFault(f"{name} is on the device {found}, due {due}")


def by_order(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """Values by name, in order."""
    return dict(zip(names, values, strict=True))
