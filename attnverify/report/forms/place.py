"""Where a subject stands, as far as its name says."""

from __future__ import annotations

from attnverify.report.words import line
from attnverify.verdict import Section


def file_of(section: Section) -> str:
    """The Python file of a subject named `path/file.py:function`, and nothing of any other.

    >>> file_of(Section("causal", (), "src/k.py:attention")), file_of(Section("causal"))
    ('src/k.py', '')
    """
    path, colon, _ = line(section.subject or "").rpartition(":")
    return path.replace("\\", "/") if colon and path.endswith(".py") else ""
