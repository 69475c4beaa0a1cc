"""Which part of what a subject returns is which output of the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from attnverify.errors import ParameterError

if TYPE_CHECKING:
    from attnverify.spec import Spec

# By position, None for what is to be left alone; or a key, an attribute or a position by name.
Outputs: TypeAlias = "Sequence[str | None] | Mapping[str, str | int]"


def named_outputs(outputs: Outputs) -> tuple[str, ...]:
    """The spec's names of the outputs that are judged, in order.

    >>> named_outputs(("O", None)), named_outputs({"O": "out", "A": 1})
    (('O',), ('O', 'A'))
    """
    return tuple(name for name in outputs if name is not None)


def checked(outputs: Outputs, spec: Spec) -> tuple[str | None, ...] | dict[str, str | int]:
    """The outputs as a plain tuple or dict; ParameterError where the spec computes no such one."""
    for name in named_outputs(outputs):
        if name not in spec.heads:
            raise ParameterError(
                "an output is named that the spec does not compute",
                spec=spec.name,
                found=name,
                due=", ".join(spec.heads),
            )
    return dict(outputs) if isinstance(outputs, Mapping) else tuple(outputs)


def by_place(result: Any, outputs: Mapping[str, str | int]) -> dict[str, Any]:
    """Each output from its key, attribute or position; KeyError with words where it is lacking.

    >>> by_place({"out": 1, "lse": 2}, {"O": "out"})
    {'O': 1}
    """
    return {name: _part(result, where) for name, where in outputs.items()}


def _part(result: Any, where: str | int) -> Any:
    if isinstance(result, Mapping):
        if where not in result:
            has = ", ".join(map(str, result))
            raise KeyError(f"the subject returned a mapping without {where}; it has {has}")
        return result[where]
    if isinstance(where, int):
        parts = tuple(result) if isinstance(result, tuple | list) else (result,)
        if not 0 <= where < len(parts):
            raise KeyError(f"the subject returned {len(parts)} values, due one at {where}")
        return parts[where]
    if not hasattr(result, where):
        kind = f"{type(result).__module__}.{type(result).__qualname__}"
        raise KeyError(f"the subject returned a {kind} without {where}")
    return getattr(result, where)
