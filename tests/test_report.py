"""Pages and terminal text: they say everything, obey nothing, and need no network."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import attnverify
from attnverify.errors import ReportError
from attnverify.report import render_html, text, write_html
from attnverify.report.mathml import ATTRIBUTES, ELEMENTS, mathml
from attnverify.report.page import page
from attnverify.report.plot import plot
from attnverify.report.words import clean, kind
from attnverify.verdict import Report, Section, Status, Verdict
from tests.pages import (
    ALLOWED,
    BAD,
    FINE,
    HOSTILE,
    REPLAY,
    SPEC,
    SUBJECT,
    WHOLE,
    Page,
    checked,
    everywhere,
)


def test_the_page_says_everything_of_the_report() -> None:
    found = checked(render_html(WHOLE)).text
    for words in (
        "2 of 6 verdicts fail", "forward O", "REFUTED", "differs", "batch=1 queries=2",
        "O[b=0, i=1]", "0.125", "0.75", "1e-07", REPLAY, "8 cases", "rows sum to one", "all sizes",
        "expand", "50 cases", "worst 0.000123", "REFUTED, expected", "the mask orders the keys",
        "UNDECIDED", "no power", "Causal attention.", "More words on it.", "return Q < 1",
        "does not apply: no mask", "python 3.11", "m:f against causal", "1 spec and 1 subject",
    ):  # fmt: skip
        assert words in found, words


def test_members_of_a_spec_are_one_spec() -> None:
    sections = [replace(SPEC, spec=f"causal (align={where})") for where in ("left", "right")]
    assert page(Report((*sections, SUBJECT))).title == "1 spec in 2 members and 1 subject"


def test_failures_come_first() -> None:
    source = render_html(WHOLE)
    assert (
        0
        < source.index('id="failures"')
        < source.index('id="overview"')
        < source.index('id="specs"')
    )
    drawn = page(Report((SPEC, replace(SPEC, spec="global", verdicts=(*FINE, BAD)))))
    assert [part.spec for part in drawn.specs] == ["global", "causal"]
    assert [row.name for row in drawn.specs[0].rows][:2] == ["forward O", "second order"]
    assert [(part.spec, row.name) for part, row in drawn.failures] == [("global", "forward O")]
    assert 'id="failures"' not in render_html(Report((SPEC,)))


def test_the_four_statuses_differ_in_shape_and_letter() -> None:
    source = render_html(WHOLE)
    symbols = dict(re.findall(r'<symbol id="mark-(\w+)"[^>]*>(.*?)</symbol>', source))
    assert set(symbols) == {"proved", "held", "refuted", "undecided", "expected"}
    shapes = {name: re.sub(r"<text.*", "", drawing) for name, drawing in symbols.items()}
    assert len(set(shapes.values())) == 5
    letters = {name: re.findall(r">(\w)<", drawing)[0] for name, drawing in symbols.items()}
    assert letters == {
        "proved": "P",
        "held": "H",
        "refuted": "R",
        "undecided": "U",
        "expected": "R",
    }


def test_the_matrix_has_a_cell_for_every_verdict_and_a_gap_where_none_was_asked() -> None:
    other = Section("global", FINE[:1])
    (matrix,) = page(Report((SPEC, other))).matrices
    assert matrix.columns == ("rows sum to one", "convex hull", "equivariance", "second order")
    kinds = {
        family.name: [[row.kind for _, row in cell] for cell in cells]
        for family, cells in matrix.lines
    }
    assert kinds == {
        "causal": [["PROVED"], ["HELD"], ["expected"], ["UNDECIDED"]],
        "global": [["PROVED"], [], [], []],
    }
    twice = page(Report((Section("s", (FINE[0], replace(FINE[0], status=Status.REFUTED))),)))
    assert [[row.kind for _, row in cell] for cell in twice.matrices[0].lines[0][1]] == [
        ["REFUTED", "PROVED"]
    ]


@pytest.mark.parametrize("bad", range(3))
def test_a_cell_shows_each_kind_that_some_member_has(bad: int) -> None:
    wrong = replace(FINE[0], status=Status.REFUTED)
    told = [wrong if at == bad else FINE[0] for at in range(3)]
    members = [Section(f"s (n={at})", (one,)) for at, one in enumerate(told)]
    found = page(Report((*members, Section("t", FINE[:2]))))
    (family, (cell, held)), _ = sorted(found.matrices[0].lines, key=lambda line: line[0].name)
    assert [part.member for part in family.parts].count(f"n={bad}") == 1
    assert held == ()
    assert {row.kind: part.member for part, row in cell}["REFUTED"] == f"n={bad}"
    assert {row.kind for _, row in cell} == {"REFUTED", "PROVED"}
    assert dict(family.tally) == {"REFUTED": 1, "PROVED": 2}
    assert family.names.count(f"n={bad}") == 1
    marks = checked(render_html(Report(tuple(members)))).values("aria-label")
    assert (marks.count("REFUTED"), marks.count("PROVED")) == (1, 1)


def test_equal_input_gives_an_equal_page_and_time_does_not_show() -> None:
    slow = replace(SPEC, verdicts=tuple(replace(verdict, seconds=9.75) for verdict in FINE))
    assert render_html(Report((slow,))) == render_html(Report((SPEC,)))
    assert render_html(Report((SPEC,))) != render_html(Report((replace(SPEC, spec="other"),)))


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_text_is_inert_on_the_page(words: str, tmp_path: Path) -> None:
    found = checked(render_html(everywhere(words)))
    assert clean(words)[:60].split()[0] in found.text
    assert write_html(everywhere(words), tmp_path / "page.html").stat().st_size > 1000


@given(st.text(st.characters(), max_size=40))
def test_any_text_is_inert_on_the_page(words: str) -> None:
    assert checked(render_html(everywhere(words))).elements


@pytest.mark.parametrize("figures", [
    {"equations": "text"}, {"equations": [None, [1], {"latex": 3}]}, {"notes": 3},
    {"source": ["x"]}, {"description": None, "gradient": {}}, {"notes": [None, {"a": 1}]},
])  # fmt: skip
def test_figures_of_another_form_do_no_harm(figures: dict[str, Any]) -> None:
    assert "convex hull" in checked(render_html(Report((replace(SPEC, figures=figures),)))).text


def test_a_report_of_nothing_is_a_page() -> None:
    assert "no verdict in this report" in checked(render_html(Report())).text
    assert "There is none." in checked(render_html(Report((Section("empty"),)))).text


@pytest.mark.parametrize(("latex", "words"), [
    (r"O_{i} = \sum_{j} A_{i j}", "<munder><mo>∑</mo>"),
    (r"\frac{a}{\sqrt{d_{k}}}", "<mfrac>"),
    (r"A \le B", "≤"),
    (r"\mathrm{window}_{i}", "<msub><mi>window</mi><mi>i</mi></msub>"),
    (r"\left(x\right)", "<mo>(</mo><mi>x</mi><mo>)</mo>"),
])  # fmt: skip
def test_equations_become_mathml(latex: str, words: str) -> None:
    found = mathml(latex, "the text")
    assert words in found
    assert found.startswith('<math display="block">')


@pytest.mark.parametrize("latex", ["", r"\frac{", "x_{", "{" * 5000, "x" * 30_000])
def test_latex_that_does_not_convert_falls_back_to_text(latex: str) -> None:
    assert mathml(latex, "a < b") == "<code>a &lt; b</code>"


@pytest.mark.parametrize("latex", [
    r"\text{<img src=x onerror=alert(1)>}", r"\href{javascript:alert(1)}{x}",
    r"\style{color:red}{b}", r"\class{a}{b}", r"\text{</math><script>1</script>}",
    r"\mathrm{<b>}", r"\operatorname{<i>}", r"\id{x}{y}", r"\text{&lt;script&gt;}",
])  # fmt: skip
def test_latex_cannot_smuggle_markup(latex: str) -> None:
    found = Page(str(mathml(latex, "t")))
    assert found.open == []
    assert {tag for tag, _ in found.elements} <= ELEMENTS | {"code"}
    assert {name for _, attributes in found.elements for name in attributes} <= ATTRIBUTES


def test_the_catalogue_fits_in_the_index(tmp_path: Path) -> None:
    sections = []
    for name in attnverify.catalog():
        spec = attnverify.load(name)
        derived = attnverify.gradient(spec)
        figures = {
            "description": spec.description,
            "equations": spec.printed(),
            "gradient": derived.printed(),
            "source": attnverify.compile(derived).source,
        }
        verdicts = tuple(replace(FINE[0], name=f"statement number {n}") for n in range(30))
        sections.append(Section(name, verdicts, figures=figures))
    source = render_html(Report(tuple(sections)))
    assert "<math" in source
    assert "<code>" not in source.partition("Generated source")[0]
    index = write_html(Report(tuple(sections)), tmp_path / "index.html")
    assert index.stat().st_size < 1_000_000
    pages = list(tmp_path.glob("index_files/*.html"))
    assert len(pages) == len(sections)
    assert max(path.stat().st_size for path in pages) < 400_000


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReportError, match="cannot be written"):
        write_html(WHOLE, tmp_path / "file" / "page.html")


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("scheme", [0, 1])
def test_every_colour_of_text_has_contrast(scheme: int) -> None:
    style = (Path(text.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", style.split("@media")[scheme]))
    words = ("ink", "quiet", "link", "proved", "held", "refuted", "undecided", "expected")
    pairs = [(w, ground) for w in words for ground in ("ground", "sheet", "soft", "bad-ground")]
    pairs += [("on-mark", mark) for mark in ("proved", "held", "refuted")]
    for word, ground in pairs:
        light, dark = sorted((luminance(colours[word]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (word, ground)


def printed(
    report: Report, *, width: int = 80, encoding: str = "utf-8", terminal: bool = False
) -> str:
    """The report as a terminal shows it."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="replace", write_through=True)
    text.show(Console(file=stream, width=width, force_terminal=terminal, color_system=None), report)
    return raw.getvalue().decode(encoding)


def test_terminal_text_has_a_line_per_verdict_and_a_block_per_failure() -> None:
    lines = printed(WHOLE).splitlines()
    assert lines[0] == "causal  Causal attention."
    assert lines[1].split() == ["■", "PROVED", "rows", "sum", "to", "one", "all", "sizes"]
    assert lines[3].split()[:4] == ["◇", "REFUTED,", "expected", "equivariance"]
    block = lines[lines.index("◆ REFUTED  forward O  m:f against causal") :]
    assert [" ".join(line.split()) for line in block[1:9]] == [
        "differs", "smallest shape batch=1 queries=2", "first wrong entry O[b=0, i=1]", "got 0.125",
        "due 0.75", "bound 1e-07", "replay with", REPLAY,
    ]  # fmt: skip
    told = " ".join(lines[-1].split())
    assert told == "1 PROVED 1 HELD 1 REFUTED 2 UNDECIDED 1 REFUTED, expected 2 failures"


def test_a_report_that_is_not_whole_says_so() -> None:
    stopped = Report((SPEC,), {"interrupted": "not everything was judged"})
    told = checked(render_html(stopped)).text
    assert "The run was interrupted: not everything was judged." in told
    assert printed(stopped).splitlines()[-1].endswith("ok so far")


def test_a_replay_command_stays_on_one_line_at_any_width() -> None:
    assert REPLAY in printed(WHOLE, width=20).splitlines()
    assert REPLAY in printed(WHOLE, width=20, terminal=True).splitlines()


def test_a_report_without_failure_ends_in_ok() -> None:
    assert printed(Report((SPEC,))).splitlines()[-1].endswith("ok")


def test_a_terminal_without_the_glyphs_gets_letters() -> None:
    told = printed(WHOLE, encoding="ascii")
    assert "  P PROVED" in told
    assert "X REFUTED" in told
    assert "?" not in told.splitlines()[1]


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_text_is_inert_in_a_terminal(words: str) -> None:
    told = printed(everywhere(words))
    assert not [c for c in told if ord(c) < 32 and c != "\n"]
    assert not re.search("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", told)
    assert "[bold red]not" in told or not words.startswith("[bold")


def test_kinds_never_merge() -> None:
    kinds = {
        kind(Verdict("v", status, expected=flag)) for status in Status for flag in (False, True)
    }
    assert kinds == {"PROVED", "HELD", "REFUTED", "UNDECIDED", "expected"}


def test_views_know_verdicts_alone() -> None:
    folder = Path(text.__file__).parent
    seen = {
        found
        for path in folder.glob("*.py")
        for found in re.findall(
            r"^from (attnverify[\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert {"attnverify.verdict"} <= seen
    known = ("attnverify.verdict", "attnverify.errors", "attnverify.report")
    assert [name for name in seen if not name.startswith(known)] == []


# ---- Figures and tables of the evidence

FIGURE = {
    "title": "decay", "x": {"label": "distance"}, "y": {"label": "norm", "log": True},
    "curves": [
        {"name": "a", "x": [0, 1, 2], "y": [1, 0.1, 0], "low": [0.5, 0, 0], "high": [2, 0.2, 0.1]},
        {"name": "b", "x": [0, 1, 2], "y": [1, float("nan"), float("inf")]},
    ],
    "note": "3 draws", "lines": {"bound": 1.0},
}  # fmt: skip
TABLE = {"columns": ["layer", "cost"], "rows": [["attention", "n^2 d"]], "caption": "costs"}
CLAIMED = {"kind": "claims", "description": "What is said."}


def shown(**evidence: Any) -> str:
    verdict = Verdict("decays", Status.HELD, evidence=evidence)
    return render_html(Report((Section("Gradients", (verdict,), figures=CLAIMED),)))


def test_a_figure_is_drawn_with_its_axes_and_its_note() -> None:
    source = shown(figure=FIGURE, table=TABLE)
    parsed = Page(source)
    assert not parsed.open
    assert {tag for tag, _ in parsed.elements} <= ALLOWED | {"g", "figure", "figcaption"}
    for words in ("norm (log scale)", "3 draws", "bound", "attention", "n^2 d", "costs"):
        assert words in source
    # What is 0 or not finite has no place on a log axis: the line ends, nothing is invented.
    (path, *_) = re.findall(r'class="stroke" d="(M[^"]*)"', source.partition('class="curve ')[2])
    assert path.count("L") == 1
    assert "nan" not in source.lower().partition("<main")[2]


def test_claims_stand_open_and_in_no_matrix() -> None:
    source = shown(figure=FIGURE)
    assert 'id="claims"' in source
    assert "<table" not in source
    assert re.search(r'<details class="part"[^>]* open', source)
    many = Report(
        (Section("a", FINE[:1], figures=CLAIMED), Section("b", FINE[1:2], figures=CLAIMED))
    )
    assert page(many).title == "2 claims"


@pytest.mark.parametrize(
    "broken",
    [
        3, None, [], {}, {"title": "x"}, {**FIGURE, "curves": 7}, {**FIGURE, "x": "distance"},
        {**FIGURE, "curves": [{"name": "a", "x": [0, 1], "y": [1]}]},
        {**FIGURE, "curves": [{"name": "a", "x": ["one"], "y": [1]}]},
        {**FIGURE, "curves": [{"name": "a", "x": [0], "y": [-1]}]},
        {**FIGURE, "curves": [{"name": "a", "x": [0.0], "y": [float("nan")]}]},
        {**FIGURE, "lines": ["bound"]},
    ],
)  # fmt: skip
def test_what_is_no_figure_is_not_drawn(broken: Any) -> None:
    source = shown(figure=broken, table=broken)
    assert "<figure" not in source
    assert "<table" not in source


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_words_of_figures_and_tables_are_obeyed_by_nobody(text: str) -> None:
    figure = {
        **FIGURE, "title": text, "note": text, "x": {"label": text},
        "curves": [{"name": text, "x": [0, 1], "y": [1, 2]}], "lines": {text: 1.0},
    }  # fmt: skip
    source = shown(figure=figure, table={"columns": [text], "rows": [[text]], "caption": text})
    parsed = Page(source)
    assert not parsed.open
    tags = {tag for tag, _ in parsed.elements}
    assert tags <= ALLOWED | {"g", "figure", "figcaption"}
    assert not any(name.startswith("on") for _, names in parsed.elements for name in names)


@given(
    st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_any_numbers_can_be_drawn(
    points: list[tuple[float, float]], x_log: bool, y_log: bool
) -> None:
    figure = {
        "title": "any", "x": {"label": "x", "log": x_log}, "y": {"label": "y", "log": y_log},
        "curves": [{"name": "a", "x": [p[0] for p in points], "y": [p[1] for p in points]}],
    }  # fmt: skip
    found = plot(figure)
    if found is not None:
        for curve in found.curves:
            assert all(
                found.left <= x <= found.right and found.top <= y <= found.bottom
                for x, y in curve.marks
            )
        assert len(found.x_ticks) < 20
        assert len(found.y_ticks) < 20
