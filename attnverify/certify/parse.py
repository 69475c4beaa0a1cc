"""Formulas and polynomials from the lists of a certificate; what is not well formed is rejected."""

from __future__ import annotations

from fractions import Fraction

from attnverify.certify.coefs import coef_product, coef_sum, indicator
from attnverify.certify.equal import integral
from attnverify.certify.errors import Rejected
from attnverify.certify.formulas import (
    FALSE,
    TRUE,
    Form,
    Formula,
    Key,
    below,
    conjunction,
    disjunction,
    exists,
    form,
    negation,
    plus,
    product,
    zero,
)
from attnverify.certify.kernel import CLASSES, UNITS, Atom, Coef, Kernel, Poly, Term
from attnverify.certify.lines import (
    Tree,
    exactly,
    items,
    number,
    split,
    text,
    variable,
    whole,
)
from attnverify.certify.terms import freshened, is_tidy, put

# Atoms that no class defines: kind, and how many arguments where that is fixed.
ARGUMENTS = {
    "x": None,
    "int": None,
    "pos": 1,
    "size": 0,
    "number": 0,
    "positive": 0,
    "parameter": 0,
}

CONSTANTS = ("constant pi", "constant E")


def read_form(k: Kernel, tree: Tree) -> Form:
    """`(+ constant (number key) ...)`."""
    head, parts = split(tree, 2)
    if head != "+":
        raise Rejected(f"a form starts with +, not {head}")
    result = form({}, number(parts[0]))
    for part in parts[1:]:
        value, key = exactly(items(part), 2)
        result = plus(result, form({read_key(k, key): number(value)}))
    return result


def read_key(k: Kernel, tree: Tree) -> Key:
    """A key of a form."""
    head, parts = split(tree, 2)
    match head:
        case "v":
            mark, var = exactly(parts, 2)
            return ("v", text(mark), _known_variable(k, var))
        case "n":
            return ("n", text(exactly(parts, 1)[0]))
        case "p":
            name = text(exactly(parts, 1)[0])
            if name not in k.parameters:
                raise Rejected(f"{name} is no parameter of the spec")
            return ("p", name)
        case "i" | "o":
            return (head, text(parts[0]), tuple(_known_variable(k, part) for part in parts[1:]))
        case "d":
            inside, divisor = read_form(k, parts[0]), whole(exactly(parts, 2)[1])
            if divisor < 1 or not integral(inside, k):
                raise Rejected("a whole part divides a whole number by a positive one")
            return ("d", inside, divisor)
        case "m":
            return product([read_key(k, part) for part in parts])
    raise Rejected(f"no such key: {head}")


def _known_variable(k: Kernel, tree: Tree) -> int:
    return k.spoken(variable(tree))


def read_variables(k: Kernel, trees: Tree) -> tuple[int, ...]:
    """A list of variables, each once."""
    found = tuple(_known_variable(k, tree) for tree in items(trees))
    if len(set(found)) < len(found):
        raise Rejected("a variable stands twice where each stands once")
    return found


def read_formula(k: Kernel, tree: Tree) -> Formula:
    """A formula."""
    if isinstance(tree, str):
        if tree not in ("true", "false"):
            raise Rejected(f"no such formula: {tree}")
        return TRUE if tree == "true" else FALSE
    head, parts = split(tree)
    match head:
        case "<=" | "<":
            found = read_form(k, exactly(parts, 1)[0])
            return below(found, k.reals, strict=head == "<")
        case "=":
            return zero(read_form(k, exactly(parts, 1)[0]), k.reals)
        case "known":
            args = tuple(_known_variable(k, part) for part in parts[1:])
            return ("known", _known_name(k, text(parts[0]), args), args)
        case "not":
            return negation(read_formula(k, exactly(parts, 1)[0]))
        case "and":
            return conjunction(read_formula(k, part) for part in parts)
        case "or":
            return disjunction(read_formula(k, part) for part in parts)
        case "exists":
            var = _known_variable(k, exactly(parts, 2)[0])
            return exists(var, k.axis(var), read_formula(k, parts[1]), k.reals)
    raise Rejected(f"no such formula: {head}")


def _known_name(k: Kernel, name: str, args: tuple[int, ...]) -> str:
    """The name of an opaque predicate: a boolean input, or a fact about a class defined before.

    A class that spoke of whether it is 0 itself would be no definition.
    """
    head, _, rest = name.partition(" ")
    if head == "input":
        return name
    number_of = rest.removesuffix(" <= 0") if head == "class" else rest
    cls = k.classes.get(int(number_of)) if number_of.isdigit() else None
    if head not in ("class", "nonzero") or cls is None:
        raise Rejected(f"no such fact: {name}")
    if [k.axis(v) for v in cls.slots] != [k.axis(v) for v in args]:
        raise Rejected(f"{name} is read along other axes than the class has")
    k.used.add(("class", int(number_of)))
    return name


def read_coef(k: Kernel, tree: Tree) -> Coef:
    """`((number formula ...) ...)`: a combination of conjunctions."""
    result: Coef = {}
    for row in items(tree):
        value, *rest = items(row) or ("",)
        part: Coef = {frozenset(): number(value)}
        for formula in rest:
            part = coef_product(part, indicator(read_formula(k, formula)))
        result = coef_sum(result, part)
    return result


def read_term(k: Kernel, tree: Tree) -> Term:
    """`(term (bound) coefficient atom ...)`, its bound variables made new."""
    term = freshened(k, read_raw(k, tree))
    if not is_tidy(k, term):
        raise Rejected("a term is not told in its plainest form")
    return term


def read_raw(k: Kernel, tree: Tree) -> Term:
    """A term whose bound variables keep their names."""
    head, parts = split(tree, 3)
    if head != "term":
        raise Rejected(f"a term was due, not {head}")
    bound = tuple(map(k.bindable, read_variables(k, parts[0])))
    atoms: dict[Atom, Fraction] = {}
    for part in parts[2:]:
        put(atoms, *read_power(k, part))
    return Term(bound, atoms, read_coef(k, parts[1]))


def read_power(k: Kernel, tree: Tree) -> tuple[Atom, Fraction]:
    """`(kind label exponent variable ...)`, a class with its number after its label."""
    kind, parts = split(tree, 3)
    label, rest = text(parts[0]), parts[1:]
    base = label.partition(" ")[0] if kind == "nz" else kind
    count = -1
    if base in CLASSES:
        count, rest = whole(rest[0]), rest[1:]
        k.used.add(("class", count))
    if not rest:
        raise Rejected(f"{kind} {label} has no exponent")
    exponent, args = number(rest[0]), tuple(_known_variable(k, part) for part in rest[1:])
    atom = Atom(kind, label, count, args)
    _check_atom(k, atom, base)
    if not exponent or (kind == "nz" and exponent != 1):
        raise Rejected(f"{kind} {label} to the power {exponent}")
    if exponent.denominator != 1 and kind not in UNITS:
        raise Rejected(f"{kind} {label} is not known to be positive: its exponents are whole")
    return k.canonical(atom), exponent


def _check_atom(k: Kernel, atom: Atom, base: str) -> None:
    if base in CLASSES:
        cls = k.classes.get(atom.number)
        if cls is None:
            raise Rejected(f"class {atom.number} is not defined before it is used")
        if [k.axis(v) for v in cls.slots] != [k.axis(v) for v in atom.args]:
            raise Rejected(f"class {atom.number} is read along other axes than it has")
        if base != "fn" and (len(cls.body) != 1 or atom.label.removeprefix(f"{base} ")):
            raise Rejected(f"{base} has one argument, and no label")
        return
    due = ARGUMENTS.get(base, -1)
    if due is not None and due != len(atom.args):
        raise Rejected(f"no such factor: {atom.kind} {atom.label} of {len(atom.args)} variables")
    if base in ("positive", "parameter") and not (base == "positive" and atom.label in CONSTANTS):
        parameter = k.parameters.get(atom.label)
        if parameter is None or (base == "positive") != parameter.positive:
            raise Rejected(f"{atom.label} is no {base} of the spec")
    if base == "number" and not _is_prime(atom.label):
        raise Rejected(f"{atom.label} is no prime number")


def _is_prime(label: str) -> bool:
    value = int(label) if label.isdigit() and len(label) < 7 else 0
    return value > 1 and all(value % d for d in range(2, int(value**0.5) + 1))


def read_poly(k: Kernel, trees: tuple[Tree, ...]) -> Poly:
    """Terms."""
    return tuple(read_term(k, tree) for tree in trees)
