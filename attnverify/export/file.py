"""An exported file: what it is, its shapes and conventions, its helpers, and its functions."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import fill

from attnverify import __version__
from attnverify.algebra.parameters import domain
from attnverify.algebra.terms import Entry, Parameter
from attnverify.compile.scalars import size_name
from attnverify.compile.source import identifier
from attnverify.equations import place_axis
from attnverify.errors import SpecError
from attnverify.export.dialects import Dialect
from attnverify.export.function import Function
from attnverify.export.layout import WIDTH, safe
from attnverify.export.masked import hides
from attnverify.export.wrapped import jax_rule, torch_rule
from attnverify.spec import Spec

MASKED = (
    " Masked scores are selected and never multiplied, and a weight of 0 leaves nothing of what it"
    " meets: a masked slot may hold anything, NaN as well."
)


def library_file(spec: Spec, gradient: Spec | None, dialect: Dialect) -> str:
    """The whole file of one library: forward, and the derived backward where it is asked for."""
    name = _function_name(spec, dialect)
    _refuse_taken(spec, dialect)
    rule = {"torch": torch_rule, "jax": jax_rule}.get(dialect.name)
    apart = gradient is not None and rule is not None
    forward = Function(spec, dialect, f"{name}_forward" if apart else name)
    functions, used = [forward.text()], set(forward.used)
    if gradient is not None:
        backward = Function(gradient, dialect, f"{name}_gradient", forward.asked)
        functions.append(backward.text())
        used |= backward.used
        if rule is not None:
            functions.append(rule(name, forward, backward))
    helpers = [dialect.helpers[key] for key in dialect.helpers if key in used]
    imports = _imports(dialect, "\n".join([*helpers, *functions]))
    head = f"{_head(spec, forward, dialect, name)}\n\n{imports}"
    return "\n\n\n".join([head, *helpers, *functions]) + "\n"


def _function_name(spec: Spec, dialect: Dialect) -> str:
    name = identifier(spec.name)
    return f"{name}_attention" if name in dialect.own else name


def _refuse_taken(spec: Spec, dialect: Dialect) -> None:
    """An input or a parameter with the name of a module would hide it from its own function."""
    names = [entry.tensor.name for entry in spec.inputs] + [p.name for p in spec.parameters]
    for name in names:
        if name in dialect.own:
            raise SpecError(
                f"a file for {dialect.title} has this name for itself",
                spec=spec.name,
                found=name,
                hint="rename it in the spec, or export to another library",
            )
    if not any(entry.tensor.kind == "real" for entry in spec.inputs):
        raise SpecError(
            "a file takes its floating type from a real input, and there is none",
            spec=spec.name,
            due="an input of real numbers",
            hint="declare one of the inputs with tensors(...)",
        )


def _imports(dialect: Dialect, code: str) -> str:
    """The imports that the code uses."""

    def needed(line: str) -> bool:
        name = line.rsplit(maxsplit=1)[-1]
        return f"{name}." in code or f"{name}(" in code

    return "\n".join(line for line in dialect.imports if not line or needed(line)).strip()


def _head(spec: Spec, forward: Function, dialect: Dialect, name: str) -> str:
    """The docstring of the file."""
    first, _, rest = spec.description.strip().partition("\n")
    parts = [
        fill(f"{name}: {first}" if first else name, WIDTH),
        rest.strip(),
        fill(
            f"Written by attnverify {__version__} from the spec {spec.name}. It needs "
            f"{dialect.title} alone.{MASKED if hides(forward.recipe.ops) else ''}",
            WIDTH,
        ),
        _listed("Arrays, of one floating type where they are real:", map(_array, spec.inputs)),
        _listed(
            "Returns, as a tuple:" if len(spec.outputs) > 1 else "Returns:",
            (_array(spec.heads[out]) for out in spec.outputs),
        ),
        _listed("Parameters:", map(_parameter, spec.parameters)),
        _listed("Sizes that no array tells:", map(_size, forward.asked)),
        _listed("Conventions:", (f"{key} = {value}" for key, value in spec.choices.items())),
    ]
    text = safe("\n\n".join(filter(None, parts)))
    return f'"""{text}\n"""'


def _listed(title: str, rows: Iterable[str]) -> str:
    told = "\n".join(
        fill(row, WIDTH, initial_indent="    ", subsequent_indent="        ") for row in rows
    )
    return f"{title}\n{told}" if told else ""


def _array(entry: Entry) -> str:
    """An array with its indices, its axes by name, and its kind."""
    axes = ", ".join(place_axis(place).name for place in entry.places)
    return f"{entry}: {axes or 'a single number'}; {entry.tensor.kind}"


def _parameter(parameter: Parameter) -> str:
    told = f"{parameter.name}: {domain(parameter)}"
    told += f", {float(parameter.default):g} unless told" if parameter.default is not None else ""
    return f"{told}. {parameter.doc}" if parameter.doc else told


def _size(axis: str) -> str:
    return f"{size_name(axis)}: the positions of axis {axis}"
