"""Who follows which convention: every known function of the installed libraries, identified."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from attnverify.errors import AttnverifyError
from attnverify.identify.finding import Finding
from attnverify.identify.known import KNOWN, Known
from attnverify.identify.probed import UNKNOWN, identify
from attnverify.verdict import Report, Section

ABSENT = "not installed"


def support(
    known: Iterable[Known] = KNOWN,
    *,
    frameworks: Collection[str] = (),
    seed: int = 0,
    on_begun: Callable[[str], object] | None = None,
) -> Report:
    """Identify what is known of the installed libraries: one section for each function.

    `frameworks` are those to ask, all of them where it is empty.  The report's environment says
    which libraries are not installed; a function that cannot be asked has one verdict that says
    why.  `on_begun` is told the name of each before it is asked.

    >>> support(frameworks=["none of them"]).sections
    ()
    """
    asked = [one for one in known if not frameworks or one.framework in frameworks]
    reports = []
    for one in asked:
        if one.installed:
            if on_begun is not None:
                on_begun(one.name)
            reports.append(_identified(one, seed))
    environment = {name: told for report in reports for name, told in report.environment.items()}
    absent = ", ".join(dict.fromkeys(one.package for one in asked if not one.installed))
    sections = tuple(section for report in reports for section in report.sections)
    return Report(sections, environment | ({ABSENT: absent} if absent else {}))


def _identified(one: Known, seed: int) -> Report:
    """The report on one function, which says what it belongs to."""
    told = {"framework": one.framework, "subject_name": one.name, "seed": seed, **one.call}
    try:
        report = identify(one.make(), **told)
    except (AttnverifyError, ImportError, AttributeError) as error:
        # A release may lack what another has: that is a cell of the table, not the end of it.
        said = f"it could not be asked: {type(error).__name__}: {error}"
        verdict = Finding("variant", "", said).verdict()
        report = Report((Section(UNKNOWN, (verdict,), one.name, {"identified": True}),))
    (section,) = report.sections
    library = {"library": f"{one.package} {_version(one.package)}".strip(), "function": one.title}
    return replace(report, sections=(replace(section, figures={**section.figures, **library}),))


def _version(package: str) -> str:
    try:
        return str(version(package))
    except PackageNotFoundError:
        return ""
