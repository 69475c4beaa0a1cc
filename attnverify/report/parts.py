"""What a page is made of: sections, rows and tables, of text that is safe to show."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias
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
    def kinds(self) -> tuple[str, ...]:
        """The kinds of verdict in it."""
        return tuple(kind for kind, _ in self.tally)

    @property
    def member(self) -> str:
        """What tells this member of a family from the others."""
        return self.spec.removeprefix(f"{self.name} (").removesuffix(")")

    @property
    def href(self) -> str:
        """The file as a link names it: a folder may bear any name.

        A first part with a colon would be a scheme, so that a quoted one is none.
        """
        return quote(self.file)


@dataclass(frozen=True)
class Family:
    """The members of one spec, or one section that stands for itself."""

    name: str
    parts: tuple[Part, ...]

    @property
    def names(self) -> str:
        """The titles of all members, for a search."""
        return " ".join(dict.fromkeys(" ".join(part.title for part in self.parts).split()))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of verdict that some member has."""
        return tuple(dict.fromkeys(kind for part in self.parts for kind, _ in part.tally))

    @property
    def tally(self) -> tuple[tuple[str, int], ...]:
        """How many verdicts of each kind all members have."""
        found: Counter[str] = Counter()
        for part in self.parts:
            found.update(dict(part.tally))
        return tuple(found.items())


# A verdict and where it stands.
Placed: TypeAlias = tuple[Part, Row]


@dataclass(frozen=True)
class Matrix:
    """Families by statements.

    A cell has a verdict of each kind that some member has, and nothing where none was asked.
    """

    caption: str
    corner: str
    columns: tuple[str, ...]
    lines: tuple[tuple[Family, tuple[tuple[Placed, ...], ...]], ...]


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
    families: tuple[Family, ...]
    subjects: tuple[Part, ...]
    claims: tuple[Part, ...]
    environment: tuple[tuple[str, str], ...]
    folder: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every section, in the order in which they stand."""
        return (*self.claims, *self.subjects, *self.specs)
