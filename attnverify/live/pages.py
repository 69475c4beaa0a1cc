"""Which page answers which address; what is not among them is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, FileSystemLoader
from markupsafe import Markup

from attnverify.library import catalog, describe
from attnverify.live.asked import asked
from attnverify.live.drawn import drawing
from attnverify.live.query import Query, Refused
from attnverify.live.runs import Run, find, report, runs, summary
from attnverify.report.changes import changes
from attnverify.report.html import book, digest, filter_script, templates
from attnverify.report.page import page
from attnverify.report.words import clean, kind
from attnverify.verdict import Verdict

TEMPLATES = Path(__file__).parent / "templates"
FOLDER, KEPT = "pages", 4
# Rows of a comparison that are shown.
ROWS = 500


@dataclass(frozen=True)
class Answer:
    """A page and its status; `to` is where to go instead."""

    text: str
    status: HTTPStatus = HTTPStatus.OK
    to: str = ""

    @property
    def policy(self) -> str:
        """What a page may load and run: its own style and the project's two scripts."""
        scripts = " ".join(f"'{digest(text)}'" for text in (filter_script(), redraw_script()))
        return (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
            f"frame-ancestors 'none'; form-action 'self'; connect-src 'self'; script-src {scripts}"
        )


@dataclass(frozen=True)
class View:
    """The pages of a folder of reports and of a store."""

    folder: Path
    kept: Path

    def answer(self, steps: list[str], query: Query) -> Answer:
        """The page at an address, given by its steps and its query; Refused where there is none."""
        kinds: dict[str, Callable[[list[str], Query], Answer]] = {
            "": self._index, "runs": self._run, "compare": self._compare, "specs": self._spec,
        }  # fmt: skip
        found = kinds.get(steps[0])
        if found is None:
            raise _nothing()
        return found(steps[1:], query)

    def refused(self, refused: Refused) -> Answer:
        """The page that says in one sentence why there is no other."""
        text = _rendered("refused.html", sentence=clean(refused.sentence), status=refused.status)
        return Answer(text, refused.status)

    def _index(self, steps: list[str], query: Query) -> Answer:
        query.ended()
        if steps:
            raise _nothing()
        found = [(run, _address(run), summary(run)) for run in self._runs()]
        specs = [(name, describe(name)) for name in catalog()]
        return Answer(_rendered("index.html", runs=found, specs=specs, folder=clean(self.folder)))

    def _runs(self) -> list[Run]:
        return runs(self.folder, self.kept)

    def _run(self, steps: list[str], query: Query) -> Answer:
        """The index of a run's report at `NAME/`, and its pages in a folder below."""
        query.ended()
        name, *rest = steps or [""]
        run = find(self._runs(), name)
        if not rest:
            return Answer("", HTTPStatus.MOVED_PERMANENTLY, _address(run))
        texts = _pages(run)
        text = texts.get("/".join(rest))
        if text is None:
            raise _nothing()
        return Answer(text())

    def _compare(self, steps: list[str], query: Query) -> Answer:
        if steps:
            raise _nothing()
        names = [run.name for run in self._runs()]
        if not names:
            raise Refused("there is no run to compare")
        told = [query.word(key, names, names[0]) for key in ("old", "new")]
        query.ended()
        old, new = (find(self._runs(), name) for name in told)
        found = changes(report(old), report(new))
        return Answer(
            _rendered(
                "compare.html", changes=found, runs=names, old=old.name, new=new.name,
                most=ROWS, kind=_kind,
            )
        )  # fmt: skip

    def _spec(self, steps: list[str], query: Query) -> Answer:
        if len(steps) != 1:
            raise _nothing()
        wanted = asked(steps[0], query)
        script = redraw_script()
        return Answer(
            _rendered(
                "spec.html", asked=wanted, drawing=drawing(wanted),
                script=Markup(script), script_hash=digest(script),  # noqa: S704  the project's own
            )
        )  # fmt: skip


def _nothing() -> Refused:
    return Refused("there is no such page", HTTPStatus.NOT_FOUND)


def _address(run: Run) -> str:
    return f"/runs/{quote(run.name, safe='')}/"


@lru_cache(maxsize=KEPT)
def _pages(run: Run) -> dict[str, Callable[[], str]]:
    """The pages of a run's report by their addresses below it."""
    return book(page(report(run), FOLDER), index="../", home="/")


def _kind(verdict: Verdict | None) -> str:
    return "" if verdict is None else kind(verdict)


def redraw_script() -> str:
    """The script that draws again as a field changes."""
    return (TEMPLATES / "redraw.js").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """The templates of a report and of the live view, with one escaping."""
    found = templates().overlay(
        loader=ChoiceLoader([FileSystemLoader(TEMPLATES), templates().loader or ChoiceLoader([])])
    )
    found.filters["clean"] = clean
    return found


def _rendered(name: str, **told: Any) -> str:
    return _environment().get_template(f"live/{name}").render(**told)
