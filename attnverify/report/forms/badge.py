"""A badge: one line for a README, drawn whole, so that no other site is asked for it."""

from __future__ import annotations

from attnverify.report.words import counts
from attnverify.verdict import Report

LABEL = "attnverify"
# White on each has a contrast of 4.5 and more.
FINE, FAILING, OPEN = "#1a7f37", "#b42318", "#57606a"
# Of the sans-serif that browsers take, at 11 px, with room for the widest.
LETTER, EDGE = 6.8, 8


def badge(report: Report) -> str:
    """The report as an SVG of one line: how many statements are proved and held, or what fails.

    >>> "nothing judged" in badge(Report())
    True
    """
    message, colour = _message(report)
    left, right = (round(LETTER * len(text)) + 2 * EDGE for text in (LABEL, message))
    whole = f"{LABEL}: {message}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{whole}">\n'
        f"<title>{whole}</title>\n"
        f'<rect width="{left + right}" height="20" rx="3" fill="#24292f"/>\n'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z" '
        f'fill="{colour}"/>\n'
        '<g fill="#fff" font-family="DejaVu Sans,Verdana,sans-serif" font-size="11" '
        'text-anchor="middle">\n'
        f'<text x="{left / 2}" y="14">{LABEL}</text>\n'
        f'<text x="{left + right / 2}" y="14">{message}</text>\n'
        "</g>\n</svg>\n"
    )


def _message(report: Report) -> tuple[str, str]:
    """The words and the colour; what fails comes before all else."""
    failing = sum(len(section.failures) for section in report.sections)
    if failing:
        return f"{failing} of {len(report.verdicts)} fail", FAILING
    found = counts(report)
    words = [f"{found[key]} {key.lower()}" for key in ("PROVED", "HELD") if found[key]]
    return (", ".join(words), FINE) if words else ("nothing judged", OPEN)
