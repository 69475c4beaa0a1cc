"""What was judged before, by the content of all that it depends on: sqlite in the user's folder.

An entry is found by a key that names its content and carries a digest of itself, so that what is
broken, half written or changed is no entry. Nothing here is needed: whatever is wrong with the
file is told in one sentence, and what was in it is judged anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
FOLDER = "ATTNVERIFY_CACHE"
# Set in the process of an isolated subject, which has no business here.
INSIDE = "ATTNVERIFY_INSIDE_SUBJECT"
FILE = "verdicts-1.sqlite"
DAYS = 90
_TABLE = (
    "CREATE TABLE IF NOT EXISTS entries"
    " (key TEXT PRIMARY KEY, at REAL NOT NULL, digest TEXT NOT NULL, content BLOB NOT NULL)"
)
_DAY = 86400.0
# How long one process waits for another that is writing.
_PATIENCE = 20.0


def path() -> Path | None:
    """The file of the cache; None where ATTNVERIFY_CACHE is empty, which turns it off.

    ATTNVERIFY_CACHE names another folder; without it the folder is the system's for a user's
    caches, which XDG_CACHE_HOME moves.
    """
    told = os.environ.get(FOLDER)
    if os.environ.get(INSIDE) or told == "":
        return None
    if told is None:
        from platformdirs import user_cache_path  # noqa: PLC0415  most runs of tests need no folder

        return user_cache_path("attnverify", appauthor=False) / FILE
    return Path(told) / FILE


@dataclass
class Cache:
    """Values by key; `told` hears, once for each kind of fault, what could not be used and why.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = Cache(Path(folder) / FILE)
    ...     cache.put("a key", {"n": 1})
    ...     (cache.get("a key"), cache.get("another"))
    ({'n': 1}, None)
    """

    file: Path | None
    told: Callable[[str], object] = lambda _words: None
    _said: set[str] = field(default_factory=set)

    def get(self, key: str) -> dict[str, Any] | None:
        """The value of a key; None where there is none that can be believed."""

        def found(base: sqlite3.Connection) -> dict[str, Any] | None:
            rows = base.execute("SELECT digest, content FROM entries WHERE key = ?", (key,))
            row = rows.fetchone()
            return None if row is None else self._value(key, *row)

        return self._ask(found)

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep a value under a key, in place of the one that was there."""
        content = zlib.compress(json.dumps(value, allow_nan=False).encode(), 1)
        now = time.time()

        def keep(base: sqlite3.Connection) -> None:
            row = (key, now, _digest(key, content), content)
            base.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", row)
            base.execute("DELETE FROM entries WHERE at < ?", (now - DAYS * _DAY,))

        self._ask(keep, making=True)

    def digests(self) -> dict[str, str]:
        """The digest of each entry's content, by key."""

        def found(base: sqlite3.Connection) -> dict[str, str]:
            rows = base.execute("SELECT key, content FROM entries")
            return {str(key): _digest(str(key), content) for key, content in rows}

        return self._ask(found) or {}

    def drop(self, keys: Iterable[str]) -> None:
        """Forget entries."""
        rows = [(key,) for key in keys]
        self._ask(lambda base: base.executemany("DELETE FROM entries WHERE key = ?", rows))

    def _value(self, key: str, digest: object, content: object) -> dict[str, Any] | None:
        """What an entry holds; None, and a sentence, where it is not what was written."""
        try:
            if not isinstance(content, bytes) or _digest(key, content) != digest:
                raise ValueError("its digest is another")
            value = json.loads(zlib.decompress(content))
            if not isinstance(value, dict):
                raise TypeError("it is no object")
        except (ValueError, TypeError, zlib.error, RecursionError) as error:
            self._tell(f"an entry is not what was written ({error})")
            return None
        return value

    def _ask(self, action: Callable[[sqlite3.Connection], T], *, making: bool = False) -> T | None:
        """What an action on the open base gives; None where there is no base, or it has a fault."""
        if self.file is None or not (making or self.file.exists()):
            return None
        try:
            if making:
                self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _own(self.file.parent)
            # Without the context manager of sqlite3 itself, which ends transactions alone.
            with closing(
                sqlite3.connect(self.file, timeout=_PATIENCE, isolation_level=None)
            ) as base:
                # A write that the disk has not seen when the power fails is a miss, as any other.
                base.execute("PRAGMA synchronous = OFF")
                base.execute(_TABLE)
                return action(base)
        except sqlite3.OperationalError as error:
            self._tell(str(error))
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self._tell(f"{error}; it is begun anew")
            self._discard()
        except OSError as error:
            self._tell(error.strerror or str(error))
        return None

    def _discard(self) -> None:
        """Take a broken file away, so that the next run has a whole one."""
        # That it is broken was told; where it cannot be taken away, it stays as it is.
        with suppress(OSError):
            if self.file is not None:
                self.file.unlink(missing_ok=True)

    def _tell(self, why: str) -> None:
        if why not in self._said:
            self._said.add(why)
            self.told(f"the cache {self.file} is not used: {why}")


def _digest(key: str, content: object) -> str:
    """One text for a key and its content: an entry moved to another key is none."""
    body = content if isinstance(content, bytes) else str(content).encode()
    return hashlib.sha256(key.encode() + b"\0" + body).hexdigest()


def _own(folder: Path) -> None:
    """OSError for a folder that another user owns or may write to: it is not believed."""
    if not hasattr(os, "getuid") or not folder.exists():
        return
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OSError(f"others may write to {folder}")


class Watch:
    """Keeps what an isolated subject wrote into the cache from being believed.

    Its process has the rights of whoever started it, so that it cannot be kept from writing; what
    appeared or changed while it ran is dropped when it has ended.
    """

    def __init__(self) -> None:
        file = path()
        self.cache = Cache(file)
        self.before = self.cache.digests() if file is not None else {}

    def end(self) -> None:
        """Drop every entry that is not as it was."""
        if self.cache.file is None or not self.cache.file.exists():
            return
        now = self.cache.digests()
        new = [key for key, digest in now.items() if self.before.get(key) != digest]
        if new:
            self.cache.drop(new)
