"""Specs are found by name or path, and a file that does not load says why."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from attnverify.errors import LoadError, ParameterError, SpecError, SubjectError
from attnverify.library import (
    SEARCH_PATH,
    catalog,
    choices,
    describe,
    find,
    folders,
    load,
    members,
    resolve_subject,
)
from attnverify.spec import Spec
from tests.house import ROOT
from tests.members import MEMBERS, TITLES

FOUNDATION = {
    "additive",
    "biased",
    "causal",
    "cross",
    "global",
    "grouped_query",
    "linear",
    "linear_rnn",
    "local",
    "masked",
    "multi_head",
    "padding",
    "sliding_window",
}

MINE = '''"""My own variant.

More about it.
"""
from attnverify.notation import Choice, attention, causal, everything, family, parameter

scale = parameter("scale", gt=0)

def build(mask):
    if mask == "broken":
        raise KeyError("no such mask")
    if mask == "nothing":
        return None
    shown = causal() if mask == "causal" else everything()
    return attention("mine", mask=shown, scale=scale, parameters=[scale])

spec = family(build, mask=Choice("causal", "none", "broken", "nothing"))
'''


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a spec file into an empty folder."""

    def file(name: str, text: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        return path

    return file


# ---- The catalogue


def test_the_catalogue_has_the_foundation() -> None:
    assert set(catalog()) >= FOUNDATION
    assert catalog() == sorted(catalog())


@pytest.mark.parametrize("title", TITLES)
def test_each_spec_has_the_name_of_its_file_and_cites_its_source(title: str) -> None:
    spec = MEMBERS[title]
    assert find(spec.name).stem == spec.name
    assert title.startswith(spec.name)
    assert re.search(r"\b(19|20)\d\d\b", spec.description)
    assert describe(spec.name) == spec.description.partition("\n")[0]


def test_choices_are_offered_by_name() -> None:
    assert choices("local") == {"align": ("top_left", "bottom_right")}
    assert choices("cross") == {}
    assert [spec.choices["align"] for _, spec in members("local", {})] == [
        "top_left",
        "bottom_right",
    ]
    assert [title for title, _ in members("local", {"align": "top_left"})] == [
        "local (align=top_left)"
    ]
    assert [title for title, _ in members(load("global"), {})] == ["global"]


def test_members_leave_out_what_a_family_refuses() -> None:
    titles = [title for title, _ in members("linear", {})]
    assert len(titles) == 3
    with pytest.raises(ParameterError, match="recurrent form is causal"):
        load("linear", causal=False, form="recurrent")


def test_a_spec_loads_as_itself() -> None:
    spec = load("local")
    assert load(spec) is spec
    assert load(spec, left=2).parameters == spec.parameters[1:]


# ---- Names and keywords that are wrong

WRONG: dict[str, tuple[Callable[[], object], type[Exception], str, str]] = {
    "a near name": (
        lambda: load("casual"),
        LoadError,
        "no spec of this name",
        "did you mean causal",
    ),
    "a far name": (lambda: load("zzzz"), LoadError, "no spec of this name", "attnverify list"),
    "no file": (lambda: load("./none.py"), LoadError, "no spec file", "path of a .py file"),
    "a folder": (lambda: load(f"{ROOT}/"), LoadError, "no spec file", "path of a .py file"),
    "no name": (lambda: load(3), LoadError, "by name, by path or as a Spec", "3"),  # type: ignore[arg-type]  # wrong on purpose
    "an unknown keyword": (
        lambda: load("causal", algin="top_left"),
        ParameterError,
        "unknown parameter",
        "did you mean align",
    ),
    "a keyword of a spec without any": (
        lambda: load("cross", window=3),
        ParameterError,
        "unknown parameter",
        "this spec has none",
    ),
    "a choice that is not offered": (
        lambda: load("causal", align="left"),
        ParameterError,
        "cannot take this value",
        "'top_left' or 'bottom_right'",
    ),
    "one for true": (
        lambda: load("multi_head", bias=1),
        ParameterError,
        "cannot take this value",
        "False or True",
    ),
    "a wrong type": (
        lambda: load("sliding_window", window=2.5),
        ParameterError,
        "is an integer",
        "an integer >= 1",
    ),
    "a wrong domain": (
        lambda: load("sliding_window", window=0),
        ParameterError,
        "outside its domain",
        "an integer >= 1",
    ),
}


@pytest.mark.parametrize(("ask", "kind", "message", "help_"), WRONG.values(), ids=WRONG)
def test_what_does_not_load_is_told_in_words(
    ask: Callable[[], object], kind: type[Exception], message: str, help_: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        ask()
    assert help_ in str(caught.value)


# ---- A user's own files


def test_a_file_of_ones_own_loads_by_path(write: Callable[[str, str], Path]) -> None:
    path = write("mine", MINE)
    spec = load(str(path))
    assert (spec.name, spec.description) == ("mine", "My own variant.\n\nMore about it.")
    assert load(str(path), mask="none", scale=0.5).choices == {"mask": "none", "scale": 0.5}
    assert describe(str(path)) == "My own variant."


def test_a_folder_of_ones_own_is_searched_first(
    write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write("mine", MINE)
    write("_helper", "")
    write("global", MINE)
    monkeypatch.setenv(SEARCH_PATH, os.pathsep.join(["", str(tmp_path), str(tmp_path / "none")]))
    assert folders()[0] == tmp_path
    assert {"mine", "causal"} <= set(catalog())
    assert "_helper" not in catalog()
    assert load("global").name == "mine"


def test_a_changed_file_is_read_again(write: Callable[[str, str], Path]) -> None:
    path = write("mine", MINE)
    assert load(str(path)).name == "mine"
    path.write_text(MINE.replace('"mine"', '"changed"'), encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert load(str(path)).name == "changed"


HEADER = "from attnverify.notation import *\n(k,) = axes('keys')\n"
FILES = {
    "raises": ("x = 1\nx / 0\n", "ZeroDivisionError: division by zero (line 2)"),
    "exits": ("import sys\nsys.exit(3)\n", "SystemExit: 3 (line 2)"),
    "does_not_parse": ("x = 1\ndef\n", "SyntaxError"),
    "does_not_import": ("import no_such_module_here\n", "ModuleNotFoundError"),
    "recurs": ("def f():\n    return f()\nf()\n", "RecursionError"),
    "is_not_text": ("x = '\udcff'\n", "does not load"),
    "has_no_spec": ("x = 1\n", "does not end with a spec"),
    "has_another_spec": ("spec = 3\n", "found: int"),
    "is_a_bad_spec": (
        HEADER
        + "X, Y = tensors('X Y')\nspec = Spec('x', [X[k['j']]], [let(Y[k['i']], X[k['j']])], [Y])",
        "index: j",
    ),
    "chains": (
        f"{HEADER}j = k['j']\nspec = attention('x', mask=0 <= j <= 3)\n",
        "no truth value",
    ),
    "chooses_nothing": (
        "from attnverify.notation import *\nspec = family(lambda a: None, a=Choice())\n",
        "at least one value",
    ),
}


@pytest.mark.parametrize(("name", "case"), FILES.items())
def test_a_file_that_does_not_load_says_why(
    tmp_path: Path, name: str, case: tuple[str, str]
) -> None:
    text, words = case
    path = tmp_path / f"{name}.py"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(LoadError, match=f"{name}.py does not") as caught:
        load(str(path))
    assert words in str(caught.value)
    assert caught.value.parts["spec"] == name


def test_a_family_whose_function_raises_says_why(write: Callable[[str, str], Path]) -> None:
    path = str(write("mine", MINE))
    with pytest.raises(LoadError, match="does not build a spec") as caught:
        load(path, mask="broken")
    assert "KeyError: 'no such mask' (line 11)" in str(caught.value)
    with pytest.raises(SpecError, match="returns a Spec") as other:
        load(path, mask="nothing")
    assert "NoneType" in str(other.value)


def test_a_file_that_does_not_parse_is_described_so(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def\n", encoding="utf-8")
    assert describe(str(path)).startswith("(does not parse")


# ---- Subjects


def test_a_subject_is_found_in_a_module_and_in_a_file(tmp_path: Path) -> None:
    assert resolve_subject("os.path:join") is os.path.join
    assert resolve_subject("attnverify.spec:Spec.text") is Spec.text
    (tmp_path / "beside.py").write_text("factor = 3\n", encoding="utf-8")
    path = tmp_path / "subject_of_mine.py"
    path.write_text(
        "from beside import factor\ndef f(x):\n    return factor * x\n", encoding="utf-8"
    )
    before = list(sys.path)
    assert resolve_subject(f"{path}:f")(2) == 6
    assert sys.path == before


SUBJECTS = {
    "no colon": ("os.path.join", "module:function"),
    "no module": (":join", "module:function"),
    "no function": ("os.path:", "module:function"),
    "a wrong function": ("os.path:jion", "did you mean join"),
    "a wrong module": ("no_such_module_here:f", "ModuleNotFoundError"),
    "no file": ("none.py:f", "no file at this path"),
    "not callable": ("os.path:sep", "not callable"),
}


@pytest.mark.parametrize(("name", "words"), SUBJECTS.values(), ids=SUBJECTS)
def test_a_subject_that_is_not_found_is_told_in_words(name: str, words: str) -> None:
    with pytest.raises(SubjectError) as caught:
        resolve_subject(name)
    assert words in str(caught.value)


def test_a_subject_whose_file_raises_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "breaks.py"
    path.write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(SubjectError, match="does not import") as caught:
        resolve_subject(f"{path}:f")
    assert "ZeroDivisionError" in str(caught.value)
