"""What a page is made of: sections, rows and tables, of text that is safe to show."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from attnverify.report.graph import Graph, Step
from attnverify.report.picture import Picture
from attnverify.report.plot import Plot
from attnverify.verdict.figure import Table


def spec_name(title: str) -> str:
    """The spec's name in the title of one of its members.

    >>> spec_name("local (align=top_left)")
    'local'
    """
    return title.split(" (", maxsplit=1)[0]


@dataclass(frozen=True)
class Row:
    """One verdict as the page shows it."""

    id: str
    name: str
    kind: str
    status: str
    fails: bool
    expected: bool
    detail: str
    reach: str
    facts: tuple[tuple[str, str], ...]
    replay: str
    topic: str
    value: str
    certificate: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...]
    where: tuple[str, ...] = ()
    picture: Picture | None = None
    plot: Plot | None = None
    table: Table | None = None
    becomes: str = ""


@dataclass(frozen=True)
class Part:
    """One section of the report as the page shows it."""

    id: str
    title: str
    spec: str
    subject: str
    lead: str
    paragraphs: tuple[str, ...]
    fails: bool
    asked: tuple[str, ...]
    topics: tuple[str, ...]
    rows: tuple[Row, ...]
    tally: tuple[tuple[str, int], ...]
    equations: tuple[dict[str, str], ...]
    gradient: tuple[dict[str, str], ...]
    source: str
    notes: tuple[str, ...]
    weights: Picture | None = None
    mask: Picture | None = None
    cost: tuple[dict[str, str], ...] = ()
    flow: Plot | None = None
    errors: Plot | None = None
    bugs: tuple[tuple[str, str, str], ...] = ()
    becomes: tuple[Step, ...] = ()
    claims: bool = False
    function: tuple[str, str] | None = None
    # Where its body stands; on this page, where nothing is said.
    file: str = ""

    @property
    def name(self) -> str:
        """The spec's name, without what tells a member apart."""
        return spec_name(self.spec)

    @property
    def href(self) -> str:
        """The file as a link names it: a folder may bear any name.

        A first part with a colon would be a scheme, so that a quoted one is none.
        """
        return quote(self.file)


@dataclass(frozen=True)
class Matrix:
    """Sections by statements: a cell is the row of a verdict, or None where it was not asked."""

    caption: str
    corner: str
    columns: tuple[str, ...]
    lines: tuple[tuple[Part, tuple[tuple[Row, ...], ...]], ...]


@dataclass(frozen=True)
class Support:
    """Conventions by functions of libraries: rows of evidence, None where it was not asked.

    Beside each row stands whether it differs from what most functions do.
    """

    functions: tuple[tuple[Part, str, str], ...]
    lines: tuple[tuple[str, tuple[tuple[Row | None, bool], ...]], ...]


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    partial: str
    verdicts: int
    tally: tuple[tuple[str, int], ...]
    failures: tuple[tuple[Part, Row], ...]
    matrices: tuple[Matrix, ...]
    lattice: Graph | None
    support: Support | None
    specs: tuple[Part, ...]
    subjects: tuple[Part, ...]
    claims: tuple[Part, ...]
    environment: tuple[tuple[str, str], ...]
    folder: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every section, in the order in which they stand."""
        return (*self.claims, *self.subjects, *self.specs)
