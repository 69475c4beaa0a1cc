"""Pages and terminal text: they say everything, obey nothing, and need no network."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Container
from dataclasses import replace
from html.parser import HTMLParser
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
from attnverify.report.picture import picture
from attnverify.report.plot import plot
from attnverify.report.words import clean, kind
from attnverify.verdict import Report, Section, Status, Verdict, Witness

WITNESS = Witness(
    {"batch": 1, "queries": 2}, tensor="O", index={"b": 0, "i": 1}, got=0.125, due=0.75, bound=1e-7
)
REPLAY = "attnverify check m:f --spec causal --replay .attnverify/witnesses/w.npz"
BAD = Verdict("forward O", Status.REFUTED, "differs", witness=WITNESS, replay=REPLAY, cases=8)
FINE = (
    Verdict("rows sum to one", Status.PROVED, scope="all sizes", certificate=("expand", "collect")),
    Verdict("convex hull", Status.HELD, cases=50, evidence={"worst": 0.00012345, "many": [1]}),
    Verdict("equivariance", Status.REFUTED, "the mask orders the keys", expected=True),
    Verdict("second order", Status.UNDECIDED, "no power"),
)
EQUATION = {
    "name": "O",
    "text": "O[i] = sum_j A[i,j] V[j]",
    "latex": r"O_{i} = \sum_{j} A_{i j} \, V_{j}",
}
FIGURES = {
    "description": "Causal attention.\n\nMore words\non it.", "equations": [EQUATION],
    "gradient": [EQUATION | {"name": "dV"}], "source": "def causal(Q):\n    return Q < 1\n",
    "notes": {"causality: does not apply": "no mask"},
}  # fmt: skip
SPEC = Section("causal", FINE, figures=FIGURES)
SUBJECT = Section("causal", (BAD, Verdict("backward dQ", Status.UNDECIDED)), "m:f")
WHOLE = Report((SPEC, SUBJECT), {"python": "3.11"})

HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'); alert(1); ('",
    "</style><b>", "{{ 7*7 }}{% raw %}", "a\x00b\x1b[31mc\x07\x9b", "\u202egnp.exe\u2066",
    "\ud83d half", "x" * 10_000, "javascript:alert(1)", "]]><![CDATA[", "</details></main>",
    "[bold red]not markup[/]", "&lt;b&gt;",
]  # fmt: skip
# What HTML calls void has no end; the rest must be closed in order.
VOID = {"meta", "link", "br", "img", "input", "hr"}
TAGS = """html head meta link title style body a header p h1 h2 h3 h4 dl div dt dd main section
    ul ol li span b bdi table caption thead tbody tr th td details summary pre code footer
    svg symbol rect circle path text use
    form label input select option output script nav"""
NAMES = """lang charset name content http-equiv rel href class id aria-hidden aria-label
    aria-labelledby focusable role tabindex scope title open viewbox x y cx cy r rx d
    preserveaspectratio data-name data-kinds hidden type value autocomplete placeholder"""
ALLOWED = {*TAGS.split(), *ELEMENTS}
ALLOWED_NAMES = {*NAMES.split(), *ATTRIBUTES}


class Page(HTMLParser):
    """What a browser would make of a page: elements with attributes, in well-formed nesting."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All words of the page."""
        return " ".join(" ".join(self.words).split())

    def values(self, attribute: str) -> list[str]:
        """Every value of an attribute, in order."""
        return [value for _, attrs in self.elements if (value := attrs.get(attribute)) is not None]


FILTER = (Path(text.__file__).parent / "templates" / "filter.js").read_text(encoding="utf-8")


def checked(source: str, beside: Container[str] = ()) -> Page:
    """The page, with everything that makes a browser act found absent but the filter's script.

    Its links lead to places on it, or to the files told.
    """
    found = Page(source)
    assert found.open == []
    assert found.scripts in ([], [FILTER])
    for tag, attributes in found.elements:
        assert tag in ALLOWED, tag
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.keys() <= ALLOWED_NAMES
    for link in found.values("href"):
        assert link == "data:," or link.startswith("#") or link.split("#")[0] in beside
    assert not found.values("src")
    assert not re.search(r"url\(|@import|//[a-z]", source.split("</style>", maxsplit=1)[0])
    anchors = found.values("id")
    assert len(anchors) == len(set(anchors))
    assert {link[1:] for link in found.values("href") if link.startswith("#")} <= set(anchors)
    assert not [c for c in source if ord(c) < 32 and c not in "\n\t"]
    return found


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


MAP = {
    "axes": ["queries", "value_dim"], "sizes": [64, 3], "steps": [2, 1], "case": "batch=1 heads=2",
    "cells": [[0.5, 0.5, 0.5]] * 31 + [[2.0, float("inf"), 1e4]],
}  # fmt: skip
DRAWN = replace(BAD, evidence={"where": ["all of heads=1"], "map": MAP})


def test_a_failure_shows_where_and_draws_its_map() -> None:
    found = checked(render_html(Report((Section("causal", (DRAWN,), "m:f"),))))
    for words in (
        "all of heads=1", "queries 0 to 63, 2 to a cell downwards", "value_dim 0 to 2 across",
        "on the case batch=1 heads=2", "within its bound", "up to 10 times its bound",
        "up to 1e+04 times its bound", "not finite, or wrong where no error is allowed",
    ):  # fmt: skip
        assert words in found.text, words
    assert any("3 of 96 cells fail" in label for label in found.values("aria-label"))
    drawn = picture(MAP)
    assert drawn is not None
    assert {(bar.x, bar.y, bar.width, bar.level) for bar in drawn.bars if bar.level} == {
        (0, 31, 1, 1), (1, 31, 1, 5), (2, 31, 1, 4),
    }  # fmt: skip
    assert sum(bar.width for bar in drawn.bars) == 96


def test_a_map_comes_back_from_json_as_it_was() -> None:
    report = Report((Section("causal", (DRAWN,), "m:f"),))
    assert render_html(Report.from_json(report.to_json())) == render_html(report)


NO_MAPS: list[Any] = [
    3, "text", [], {}, {"cells": 3}, {"cells": []}, {"cells": [[]]}, {"cells": [[1], [1, 2]]},
    {"cells": [["1"]]}, {"cells": [[None]]}, {"cells": [[float("nan")]]}, {"cells": [[True]]},
    {"cells": [[1.0] * 65]}, {"cells": [[1.0]] * 65}, {"cells": ["ab", "cd"]},
]  # fmt: skip


@pytest.mark.parametrize("found", NO_MAPS)
def test_what_is_no_map_is_not_drawn(found: Any) -> None:
    assert picture(found) is None
    row = Verdict("forward O", Status.REFUTED, evidence={"map": found, "where": found})
    assert 'class="picture"' not in render_html(Report((Section("causal", (row,), "m:f"),)))


@pytest.mark.parametrize("about", [{}, {"axes": 3}, {"axes": ["<b>"], "sizes": ["x"], "case": [1]}])
def test_a_map_without_words_is_drawn_as_it_is(about: dict[str, Any]) -> None:
    row = Verdict("forward O", Status.REFUTED, evidence={"map": {"cells": [[9.0, 1.0]], **about}})
    found = checked(render_html(Report((Section("causal", (row,), "m:f"),))))
    assert "Largest error over its bound" in found.text


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
        part.spec: [[row.kind for row in cell] for cell in cells] for part, cells in matrix.lines
    }
    assert kinds == {
        "causal": [["PROVED"], ["HELD"], ["expected"], ["UNDECIDED"]],
        "global": [["PROVED"], [], [], []],
    }
    twice = page(Report((Section("s", (FINE[0], replace(FINE[0], status=Status.REFUTED))),)))
    assert [[row.kind for row in cell] for cell in twice.matrices[0].lines[0][1]] == [
        ["REFUTED", "PROVED"]
    ]


def test_equal_input_gives_an_equal_page_and_time_does_not_show() -> None:
    slow = replace(SPEC, verdicts=tuple(replace(verdict, seconds=9.75) for verdict in FINE))
    assert render_html(Report((slow,))) == render_html(Report((SPEC,)))
    assert render_html(Report((SPEC,))) != render_html(Report((replace(SPEC, spec="other"),)))


def everywhere(words: str) -> Report:
    """A report with these words in every place that holds any."""
    equation = {"name": words, "text": words, "latex": words}
    witness = Witness(
        {words: 1}, tensor=words, index={words: 1}, got=words, due=words, path=words, note=words
    )
    drawn = {"cells": [[1.0, 2.0]], "axes": [words, words], "case": words}
    verdicts = [
        Verdict(
            words, status, words, scope=words, witness=witness, replay=words,
            certificate=(words,), evidence={words: words, "where": [words], "map": drawn},
        )
        for status in Status
    ]  # fmt: skip
    figures = {"description": words, "equations": [equation, words, 3], "gradient": [equation],
               "source": words, "notes": [words], words: words}  # fmt: skip
    told = [*verdicts, Verdict(f"forward {words}", Status.REFUTED, witness=witness, replay=words)]
    sections = (
        Section(words, tuple(told), figures=figures),
        Section(words, tuple(told), words, figures),
    )
    return Report(sections, {words: words})


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


BULK = FIGURES | {"source": "x" * 50_000}
MANY = Report((*(replace(SPEC, spec=f"<b>spec</b> {n}", figures=BULK) for n in range(12)), SUBJECT))


def test_a_large_report_is_an_index_with_a_page_for_each_section(tmp_path: Path) -> None:
    index = write_html(MANY, tmp_path / "new" / "in dex.html")
    pages = {f"in dex_files/{path.name}": path for path in index.parent.glob("*/*.html")}
    assert len(pages) == 13
    sources = {name: path.read_text(encoding="utf-8") for name, path in pages.items()}
    anchors = {name: set(Page(source).values("id")) for name, source in sources.items()}
    found = checked(index.read_text(encoding="utf-8"), pages)
    assert "x" * 1000 not in found.text
    links = [link.split("#") for link in found.values("href") if link.split("#")[0] in pages]
    assert {name for name, _ in links} == set(pages)
    assert all(anchor in anchors[name] for name, anchor in links)
    assert sum(1 for _, anchor in links if anchor == "rows-sum-to-one") == 12
    beside = {"../in%20dex.html", *(path.name for path in pages.values())}
    for name, source in sources.items():
        one = checked(source, beside)
        assert "../in%20dex.html" in one.values("href")
        assert ("forward O" in one.text) == ("m-f" in name)


def test_a_small_report_is_one_page_and_so_is_a_section(tmp_path: Path) -> None:
    for at, report in enumerate((WHOLE, Report(MANY.sections[:1]))):
        path = write_html(report, tmp_path / f"{at}.html")
        assert path.read_text(encoding="utf-8") == render_html(report)
        assert {found.name for found in tmp_path.iterdir()} == {f"{n}.html" for n in range(at + 1)}


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_text_is_inert_on_every_page_of_many(words: str, tmp_path: Path) -> None:
    sections = everywhere(words).sections
    large = tuple(replace(one, figures={**one.figures, "source": "x" * 59_000}) for one in sections)
    index = write_html(Report(large * 5), tmp_path / "index.html")
    pages = {f"index_files/{path.name}": path for path in tmp_path.glob("*/*.html")}
    assert len(pages) == 10
    checked(index.read_text(encoding="utf-8"), pages)
    for path in pages.values():
        checked(path.read_text("utf-8"), {"../index.html", *(p.name for p in pages.values())})


def test_the_filter_is_there_where_there_is_much_to_find_and_no_other_script_is_allowed() -> None:
    assert "<script>" not in render_html(WHOLE)
    source = render_html(MANY)
    digest = base64.b64encode(hashlib.sha256(FILTER.encode()).digest()).decode("ascii")
    assert f"script-src 'sha256-{digest}'\">" in source
    assert checked(source).scripts == [FILTER]
    assert "spec</b> 11" in checked(source).values("data-name")[-1]


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
