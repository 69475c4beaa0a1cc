"""The report that `reports/example/` holds: some variants, a kernel that is right, and some wrong.

Run from the project's root: `python -m examples.report`. Times are left out, so that what is
committed changes only where what is found does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import attnverify as av
from attnverify.illustrated import illustrated

SPECS = ("global", "causal", "sliding_window", "alibi", "softcap", "sinks")
JUDGED = (
    ("numpy_right:attention", "global"),
    ("numpy_wrong:sees_one_future_key", "causal"),
    ("numpy_wrong:scales_by_the_value_channels", "global"),
)
TARGET = Path("reports/example")


def timeless(report: av.Report) -> av.Report:
    """The same report without how long anything took."""
    sections = (
        replace(one, verdicts=tuple(replace(verdict, seconds=0.0) for verdict in one.verdicts))
        for one in report.sections
    )
    return av.Report(tuple(sections), report.environment)


def pictured(spec: av.Spec) -> av.Report:
    """What is found of a spec, and what its page shows besides."""
    report = av.verify(spec)
    return replace(report, sections=tuple(illustrated(one, spec) for one in report.sections))


def build(target: Path = TARGET) -> av.Report:
    """Judge everything and write the pages and the JSON."""
    found = [pictured(av.load(name)) for name in SPECS]
    for name, spec in JUDGED:
        fn = av.library.resolve_subject(f"examples.{name}")
        found.append(av.check(fn, spec, subject_name=f"examples/{name.replace(':', '.py:')}"))
    report = timeless(av.Report.merged(found))
    report.to_json(target / "report.json")
    av.write_html(report, target / "index.html")
    return report


if __name__ == "__main__":
    build()
