"""pytest's side: each verdict of a check is an item, a marker judges subjects, a fixture checks.

    pytest --attnverify causal --against kernel.py:attention -n 2

pytest loads this file wherever attnverify is installed, so nothing but the errors is imported here
until a check is asked for.  The verdicts that there are follow from the subject as much as from the
spec (whether its gradients can be asked for, what it does in rows without keys), so the check runs
while items are collected and an item reports what was found.  Under pytest-xdist the controller
runs it once and hands every worker the same report: all collect the same items, whatever the
subject does when it is asked again.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from attnverify.errors import AttnverifyError

if TYPE_CHECKING:
    from attnverify.verdict import Report, Section, Verdict

NAME = "attnverify"
_LISTED = pytest.StashKey[frozenset[str]]()
_HANDED = pytest.StashKey[list[dict[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup(NAME, "attention, judged against a spec")
    option = group.addoption
    option("--attnverify", action="append", default=[], metavar="SPEC",
           help="A spec by name or path; repeatable, once for each --against.")  # fmt: skip
    option("--against", action="append", default=[], metavar="SUBJECT", dest="attnverify_against",
           help="module:function or file.py:function to judge; repeatable.")  # fmt: skip
    option("--attnverify-framework", metavar="NAME", help="Whose arrays it takes.")
    option("--attnverify-layout", metavar="PATTERN", help='How arrays lie, such as "b n (h d)".')
    option("--attnverify-dtype", action="append", default=[], metavar="NAME",
           help="A type to judge in; repeatable.")  # fmt: skip
    option("--attnverify-set", action="append", default=[], metavar="NAME=VALUE",
           help="A parameter of the spec, or another argument of check; repeatable.")  # fmt: skip
    option("--attnverify-seed", type=int, metavar="N", help="What draws start from.")
    option("--attnverify-xfails", metavar="FILE",
           help="Names of verdicts that are known to fail, one to a line.")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker and read what was asked; UsageError for what does not fit together."""
    config.addinivalue_line(
        "markers",
        f"{NAME}(spec, **settings): judge the function that the test returns, as attnverify.check",
    )
    _pairs(config)
    _settings(config)
    config.stash[_LISTED] = _listed(config)


def _pairs(config: pytest.Config) -> list[tuple[str, str]]:
    """Which subject is judged against which spec: all against one, or one against each."""
    specs, subjects = config.getoption("attnverify"), config.getoption("attnverify_against")
    if bool(specs) != bool(subjects):
        raise pytest.UsageError("--attnverify SPEC and --against SUBJECT belong together")
    if len(specs) == 1:
        specs = specs * len(subjects)
    if len(specs) != len(subjects):
        raise pytest.UsageError(
            f"{len(specs)} specs for {len(subjects)} subjects: "
            "give --attnverify once, or as often as --against"
        )
    return list(zip(specs, subjects, strict=True))


def _settings(config: pytest.Config) -> dict[str, Any]:
    """The keywords of `attnverify.check` that the options give."""
    given = {
        "framework": config.getoption("attnverify_framework"),
        "layout": config.getoption("attnverify_layout"),
        "dtypes": tuple(config.getoption("attnverify_dtype")),
        "seed": config.getoption("attnverify_seed"),
    }
    found = {name: value for name, value in given.items() if value not in (None, ())}
    for pair in config.getoption("attnverify_set"):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or name.strip() in found:
            raise pytest.UsageError(f"--attnverify-set takes NAME=VALUE, each name once: {pair}")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value.strip()
    return found


def _listed(config: pytest.Config) -> frozenset[str]:
    """The names in the list of known failures; what follows a `#` is a comment."""
    name = config.getoption("attnverify_xfails")
    if name is None:
        return frozenset()
    try:
        text = (config.invocation_params.dir / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise pytest.UsageError(f"--attnverify-xfails {name}: {error}") from None
    lines = (re.split(r"(?:^|\s)#", line)[0].strip() for line in text.splitlines())
    return frozenset(line for line in lines if line)


# ---- Items


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand a worker of pytest-xdist what was found; all get the same."""
    config: pytest.Config = node.config
    if _HANDED not in config.stash:
        config.stash[_HANDED] = [_judged(config, *pair) for pair in _pairs(config)]
    node.workerinput[NAME] = config.stash[_HANDED]


def _judged(config: pytest.Config, spec: str, subject: str) -> dict[str, str]:
    """Check a subject: the report as JSON, or the words of what could not be done."""
    from attnverify.check import check
    from attnverify.library import find, resolve_subject

    # The installed command does not look for modules where the user stands.
    sys.path.append(str(config.invocation_params.dir))
    try:
        # A mistyped name is told before a framework is loaded, which takes seconds.
        find(spec)
        fn = resolve_subject(subject)
        report = check(fn, spec, subject_name=subject, **_settings(config))
    except AttnverifyError as error:
        return {"error": str(error)}
    finally:
        sys.path.pop()
    return {"report": report.to_json()}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the verdicts to the items, before any are chosen by `-k` or `-m`."""
    asked = [Judged.of(session, number, *pair) for number, pair in enumerate(_pairs(config))]
    found = [list(session.genitems(node)) for node in asked]
    for verdicts in found:
        items.extend(verdicts)
    if all(found):
        names = {item.verdict.name for row in found for item in row if isinstance(item, Item)}
        unknown = sorted(config.stash[_LISTED] - names)
        if unknown:
            node = Unknown.from_parent(session, name="xfails", nodeid=f"{NAME}::xfails")
            node.names = unknown
            items.extend(session.genitems(node))


class Judged(pytest.Collector):
    """One subject against one spec; its items are the verdicts."""

    number: int
    asked: tuple[str, str]

    @classmethod
    def of(cls, session: pytest.Session, number: int, spec: str, subject: str) -> Judged:
        """The collector of one check."""
        name = f"{subject} against {spec}"
        node: Judged = cls.from_parent(session, name=name, nodeid=f"{NAME}::{name}")
        node.number, node.asked = number, (spec, subject)
        return node

    def collect(self) -> Iterator[Item]:
        """Each verdict as an item, named as the verdict is."""
        from attnverify.verdict import Report

        handed = getattr(self.config, "workerinput", {}).get(NAME)
        told = _judged(self.config, *self.asked) if handed is None else handed[self.number]
        if "error" in told:
            raise self.CollectError(told["error"])
        seen: Counter[str] = Counter()
        for section in Report.from_json(told["report"]).sections:
            for verdict in section.verdicts:
                seen[verdict.name] += 1
                again = f" ({seen[verdict.name]})" if seen[verdict.name] > 1 else ""
                yield Item.of(self, verdict.name + again, section, verdict)


class Item(pytest.Item):
    """One verdict."""

    section: Section
    verdict: Verdict

    @classmethod
    def of(cls, parent: Judged, name: str, section: Section, verdict: Verdict) -> Item:
        """The item of a verdict, with the marks that follow from its status and the list."""
        item: Item = cls.from_parent(parent, name=name)
        item.section, item.verdict = section, verdict
        item.add_marker(NAME)
        item.user_properties.append(("status", verdict.status.value))
        if verdict.status.value == "UNDECIDED" and not section.fails(verdict):
            item.add_marker(pytest.mark.skip(reason=f"UNDECIDED: {verdict.detail}"))
        if verdict.name in parent.config.stash[_LISTED]:
            item.add_marker(pytest.mark.xfail(reason="listed as failing", strict=True))
        return item

    def runtest(self) -> None:
        """Fail in the verdict's words."""
        if self.section.fails(self.verdict):
            pytest.fail(words(self.section, self.verdict), pytrace=False)
        if self.verdict.status.value == "REFUTED":
            pytest.xfail(f"as the spec announces: {self.verdict.detail}")

    def reportinfo(self) -> tuple[str, int, str]:
        """Where the item stands: in no file."""
        return NAME, 0, f"{self.parent.name if self.parent else ''}: {self.name}"


class Unknown(pytest.Collector):
    """What the list of known failures names and no verdict is called: the list is out of date."""

    names: list[str]

    def collect(self) -> Iterable[pytest.Item]:
        """Fail, naming them."""
        listed = ", ".join(map(repr, self.names))
        raise self.CollectError(f"--attnverify-xfails lists what no verdict is called: {listed}")


# ---- Words, marker and fixture


def words(section: Section, verdict: Verdict) -> str:
    """A failure as the terminal shows it: sizes by axis, index, got, due, bound, replay command."""
    from rich.console import Console

    from attnverify.report.text import failure

    page = StringIO()
    failure(Console(file=page, color_system=None), section, verdict)
    return page.getvalue().rstrip()


def _found(
    fn: Any, given: tuple[Any, ...], settings: Mapping[str, Any]
) -> tuple[Report | None, str]:
    """The report, and what is wrong with it in words; empty where nothing is."""
    from attnverify.check import check

    try:
        report = check(fn, *given, **settings)
    except AttnverifyError as error:
        return None, str(error)
    return report, "\n\n".join(words(section, verdict) for section, verdict in report.failures)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[Any]:
    """Judge what a marked test returns."""
    marks = list(pyfuncitem.iter_markers(NAME))
    if not marks:
        return (yield)
    test, returned = pyfuncitem.obj, []

    def keeping(**fixtures: Any) -> None:
        __tracebackhide__ = True
        returned.append(test(**fixtures))

    pyfuncitem.obj = keeping
    try:
        result = yield
    finally:
        pyfuncitem.obj = test
    for mark in marks:
        if len(mark.args) != 1:
            pytest.fail(f"the marker takes one spec: @pytest.mark.{NAME}('causal')", pytrace=False)
        _, wrong = _found(returned[0], mark.args, mark.kwargs)
        if wrong:
            pytest.fail(wrong, pytrace=False)
    return result


@pytest.fixture
def attnverify_check() -> Callable[..., Report]:
    """`attnverify.check`, which fails the test in the verdicts' words where one fails."""

    def checked(fn: Any, spec: Any, **settings: Any) -> Report:
        __tracebackhide__ = True
        report, wrong = _found(fn, (spec,), settings)
        if wrong or report is None:
            pytest.fail(wrong)
        return report

    return checked
