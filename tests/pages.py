"""Reports to draw, and what a browser would make of a page."""

from __future__ import annotations

import re
from collections.abc import Container
from html.parser import HTMLParser
from pathlib import Path

from attnverify.report import text
from attnverify.report.mathml import ATTRIBUTES, ELEMENTS
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
    svg symbol rect circle path text use g figure figcaption small
    form label input select option output script nav"""
NAMES = """lang charset name content http-equiv rel href class id aria-hidden aria-label
    aria-labelledby focusable role tabindex scope title open viewbox x y cx cy r rx d
    preserveaspectratio transform data-name data-kinds hidden type value autocomplete placeholder"""
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
    weights = {"cells": [[0.5, None]], "axes": [words, words], "case": words, "name": words}
    curve = {"name": words, "x": [1, 2], "y": [1, 2], "scattered": True}
    scale = {"label": words, "log": True}
    plot = {"title": words, "note": words, "x": scale, "y": scale, "curves": [curve]}
    bug = {"bug": words, "title": words, "source": words, "year": words}
    becomes = [{"spec": other, "words": words} for other in (words, "a", "b", words[:50])]
    figures = {"cost": [equation], "flow": plot, "errors": plot, "bugs": [bug, words, 3],
               "becomes": [*becomes, words], "weights": weights, "description": words,
               "equations": [equation, words, 3],
               "gradient": [equation], "source": words, "notes": [words], words: words}  # fmt: skip
    told = [*verdicts, Verdict(f"forward {words}", Status.REFUTED, witness=witness, replay=words)]
    sections = (
        Section(words, tuple(told), figures=figures),
        Section(words, tuple(told), words, figures),
    )
    return Report(sections, {words: words})
