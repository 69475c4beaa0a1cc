"""How each library writes an operation: forms with `{0}` an operand, `{a}` it in brackets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

INFIX = {
    "add": "{a} + {b}",
    "subtract": "{a} - {b}",
    "multiply": "{a} * {b}",
    "floor_divide": "{a} // {b}",
    "power": "{a} ** {b}",
    "negative": "-{a}",
    "less": "{a} < {b}",
    "less_equal": "{a} <= {b}",
    "greater": "{a} > {b}",
    "greater_equal": "{a} >= {b}",
    "equal": "{a} == {b}",
    "not_equal": "{a} != {b}",
}
# Operations on Python's own numbers, as sizes and parameters are, in every library.
PLAIN = {
    **INFIX,
    "logical_and": "{a} and {b}",
    "logical_or": "{a} or {b}",
    "logical_not": "(not {a})",
    "exp": "math.exp({0})",
    "log": "math.log({0})",
    "sqrt": "math.sqrt({0})",
    "tanh": "math.tanh({0})",
    "sin": "math.sin({0})",
    "cos": "math.cos({0})",
    "erf": "math.erf({0})",
    "square": "{a} ** 2",
    "absolute": "abs({0})",
    "maximum": "max({0}, {1})",
    "larger": "max({0}, {1})",
    "smaller": "min({0}, {1})",
    "relu": "max({0}, 0)",
    "sign": "math.copysign({a} != 0, {0})",
    "step": "float({a} > 0)",
    "inverse": "(1 / {a} if {a} else 0.0)",
    "logistic": "(0.5 + 0.5 * math.tanh({a} / 2))",
    "finite": "({a} if {a} > -math.inf else 0)",
    "select": "({1} if {a} else {2})",
    "stop_gradient": "{0}",
    "undefined": "math.nan",
}

# What every file calls, or names, by itself.
OWN = {
    "abs",
    "float",
    "list",
    "map",
    "math",
    "max",
    "min",
    "range",
    "real",
    "reversed",
    "sum",
    "tuple",
}


def forms(library: str) -> dict[str, str]:
    """What NumPy, PyTorch and JAX write alike."""
    named = ("exp", "log", "sqrt", "tanh", "sin", "cos", "sign", "square")
    return {
        **INFIX,
        **{name: f"{library}.{name}({{0}})" for name in named},
        "logical_and": "{a} & {b}",
        "logical_or": "{a} | {b}",
        "logical_not": "~{a}",
        "absolute": f"{library}.abs({{0}})",
        "maximum": f"{library}.maximum({{0}}, {{1}})",
        "larger": f"{library}.maximum({{0}}, {{1}})",
        "smaller": f"{library}.minimum({{0}}, {{1}})",
        "select": f"{library}.where({{0}}, {{1}}, {{2}})",
        "relu": f"{library}.maximum({{0}}, 0)",
        "step": "({a} > 0).astype(real)",
        "as_real": "{a}.astype(real)",
        "inverse": "inverse({0})",
        "finite": "finite({0})",
        "alibi_slope": "alibi_slope({0}, {1}, real)",
        "t5_bucket": "t5_bucket({0}, {1}, {2}, {3})",
    }


@dataclass(frozen=True)
class Dialect:
    """One library: its name in the text, the forms of operations, and what it needs around them.

    `number` makes an array of the working type from a number, `real` and `device` say where that
    type and place are read, with `arrays` what is handed in is made arrays, and with
    `plain_counter` a loop counts in Python's numbers. `reserved` are names that the file has for
    itself.
    """

    name: str
    title: str
    library: str
    imports: tuple[str, ...]
    forms: Mapping[str, str]
    helpers: Mapping[str, str]
    number: str
    arange: str
    real: str
    plain_counter: bool = False
    arrays: bool = False
    device: str = ""
    reserved: frozenset[str] = field(default_factory=frozenset)

    @property
    def own(self) -> set[str]:
        """The names that a file has for itself: an array of such a name would hide one."""
        return {*OWN, *self.reserved, *self.helpers}
