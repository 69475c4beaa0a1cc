"""Which spec a person looks at, at which sizes and parameters: read from a request, and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus
from typing import Any

from attnverify.algebra.parameters import domain, inside, lowest, whole_values
from attnverify.algebra.terms import Parameter
from attnverify.errors import AttnverifyError
from attnverify.family import told as as_told
from attnverify.inputs.sizes import CHANNELS, FEW
from attnverify.library import catalog, choices, load
from attnverify.live.query import Query, Refused, told
from attnverify.provers.draws import plain_values
from attnverify.spec import Spec

# The largest size of an axis: of what there are few of, of channels, of lengths.
MOST_FEW, MOST_CHANNELS, MOST_LENGTH = 4, 16, 32
# What the form begins with: a sequence is long enough to see a pattern, a grid need not be.
LENGTHS, USUAL, FEWER = ("queries", "keys", "time"), 12, 3
# How far a whole parameter goes from the lower end of its domain, or from 0.
REACH = 64
STYLES = ("normal", "peaked", "flat", "integers")
MOST_SEED = 999_999
BATCH = "batch"


@dataclass(frozen=True)
class Field:
    """One field of the form: its key and value, and its options or its limits."""

    key: str
    label: str
    value: str
    options: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    step: str = "1"
    doc: str = ""


@dataclass(frozen=True)
class Asked:
    """A member of a spec and how it is to be drawn.

    `head` is the head that is shown; `row` the only row of the outputs that the loss reads, or -1
    where it reads every row. `members` choose among the family, `fields` draw one member.
    """

    name: str
    spec: Spec
    picked: Mapping[str, str]
    sizes: Mapping[str, int]
    values: Mapping[str, int | float]
    style: str
    seed: int
    head: int
    row: int
    members: tuple[Field, ...]
    fields: tuple[Field, ...]

    @property
    def command(self) -> str:
        """The call that loads this member."""
        return f"load({', '.join([repr(self.name), *(f'{k}={v}' for k, v in self._loaded)])})"

    @property
    def _loaded(self) -> Iterator[tuple[str, str]]:
        yield from ((key, repr(self.spec.choices[key])) for key in self.picked)


def asked(name: str, query: Query) -> Asked:
    """What a request asks of a spec of the catalogue.

    Raises Refused for a name, a choice, a size or a parameter that there is not.
    """
    if name not in catalog():
        raise Refused(f"there is no spec '{told(name)}' in the catalogue", HTTPStatus.NOT_FOUND)
    picked, members = _member(name, query)
    try:
        spec = load(name, **picked)
    except AttnverifyError as error:
        raise Refused(error.sentence()) from None
    sizes, values, fields = {}, {}, []
    for axis in spec.axes:
        if axis.name != BATCH and not axis.follows:
            field = _size(axis.name, query)
            sizes[axis.name] = int(field.value)
            fields.append(field)
    for parameter in spec.parameters:
        field, value = _parameter(parameter, query)
        values[parameter.name] = value
        fields.append(field)
    style = query.word("entries", STYLES, STYLES[0])
    seed = query.whole("seed", 0, MOST_SEED, 0)
    head = query.whole("head", 0, MOST_FEW * MOST_FEW - 1, 0)
    row = query.whole("row", -1, MOST_LENGTH * MOST_LENGTH, -1)
    query.ended()
    fields += [
        Field("entries", "entries", style, STYLES),
        Field("seed", "seed", str(seed), low=0, high=MOST_SEED),
        Field("head", "head shown", str(head), low=0, high=MOST_FEW * MOST_FEW - 1),
        Field("row", "row that the loss reads", str(row), low=-1, high=MOST_LENGTH,
              doc="-1 for every row"),
    ]  # fmt: skip
    told_ = {key: str(value) for key, value in picked.items()}
    return Asked(
        name, spec, told_, sizes, values, style, seed, head, row, tuple(members), tuple(fields)
    )


def _member(name: str, query: Query) -> tuple[dict[str, Any], list[Field]]:
    """The choice of each argument of a family, by the words that it is told in."""
    picked: dict[str, Any] = {}
    fields = []
    for key, offered in choices(name).items():
        options = {str(as_told(value)): as_told(value) for value in offered}
        words = tuple(options)
        found = query.word(f"choose.{key}", words, words[0])
        picked[key] = options[found]
        fields.append(Field(f"choose.{key}", key, found, words))
    return picked, fields


def _size(axis: str, query: Query) -> Field:
    if axis in FEW:
        most, usual = MOST_FEW, 2
    elif axis in CHANNELS:
        most, usual = MOST_CHANNELS, 4
    else:
        most, usual = MOST_LENGTH, _usual(axis)
    key = f"size.{axis}"
    value = query.whole(key, 1, most, usual)
    return Field(key, axis, str(value), low=1, high=most)


def _usual(axis: str) -> int:
    return USUAL if axis in LENGTHS else FEWER


def _parameter(parameter: Parameter, query: Query) -> tuple[Field, int | float]:
    key = f"set.{parameter.name}"
    plain = plain_values(parameter)
    usual = plain[min(2, len(plain) - 1)] if plain else 1
    if parameter.integer:
        low, high, step = *_limits(parameter), parameter.multiple_of or 1
        found: int | float = query.whole(key, low, high, int(usual), step)
        field = Field(key, parameter.name, str(found), (), low, high, str(step), parameter.doc)
    else:
        exact = query.decimal(key, Fraction(str(round(float(usual), 6))))
        if not inside(parameter, exact):
            raise Refused(f"'{told(key)}' has the domain {domain(parameter)}; found {float(exact)}")
        found = float(exact)
        field = Field(key, parameter.name, f"{found:g}", step="any", doc=parameter.doc)
    return field, found


def _limits(parameter: Parameter) -> tuple[int, int]:
    """The first and the last value that the form offers."""
    low = lowest(parameter)
    first = -REACH if low is None else int(low)
    found = whole_values(parameter, first, max(first, 0) + REACH)
    return found[0], found[-1]
