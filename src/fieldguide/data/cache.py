"""The cache: what was computed from a picture's content, by that content.

One SQLite file in the user's cache folder. A row is found by what it is (`kind`: decoder version, size, network hash,
precision, ...) and by the SHA-256 of the picture's bytes, so a renamed, moved or copied picture is found as well, and
a changed one is not. Each row has a checksum. The cache may be deleted at any time; what is damaged is made again.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from fieldguide.errors import FieldguideError
from fieldguide.storage import cache_directory

_LOG = logging.getLogger(__name__)
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS kinds (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    kind INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX IF NOT EXISTS entries_used ON entries (used);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_DEFAULT_LIMIT_GB = 10.0
_KEYS_PER_QUERY = 500  # SQLite allows 999 parameters everywhere
_DAY = 86400
_OPEN_ATTEMPTS = 200  # 10 seconds in all


class Cache:
    """Values by kind and key, shared by threads and by processes.

    A cache that cannot be opened or written (read-only folder, full disk, damaged file) is left alone or made anew; the
    work goes on without it, and a line in the log says so.

    Args:
        directory: where `cache.sqlite` lies; the user's cache folder when None.
        limit_bytes: what the values may take together; the longest unused go first. `FIELDGUIDE_CACHE_GB` (10) when None.
    """

    def __init__(self, directory: Path | None = None, *, limit_bytes: int | None = None) -> None:
        self.path = (directory or cache_directory()) / "cache.sqlite"
        self._limit_bytes = _limit_bytes() if limit_bytes is None else limit_bytes
        self._lock = threading.Lock()
        self._kinds: dict[str, int] = {}
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes what exceeds the limit and closes the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._evict()
            self._connection.close()
            self._connection = None

    def get(self, kind: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values that are there, by key; a damaged one counts as missing."""
        found: dict[bytes, bytes] = {}
        now = int(time.time())
        wanted = list(dict.fromkeys(keys))
        with self._using() as connection:
            if connection is None or not wanted:
                return {}
            number = self._kind(connection, kind)
            stale = []
            for start in range(0, len(wanted), _KEYS_PER_QUERY):
                some = wanted[start : start + _KEYS_PER_QUERY]
                rows = connection.execute(
                    f"SELECT key, value, checksum, used FROM entries WHERE kind = ? AND key IN ({', '.join('?' * len(some))})",
                    (number, *some),
                )
                for key, value, checksum, used in rows:
                    if zlib.crc32(value) == checksum:
                        found[key] = value
                        if now - used > _DAY:  # to the day is enough, and saves a write per read
                            stale.append((now, number, key))
            if stale:
                with connection:
                    connection.executemany("UPDATE entries SET used = ? WHERE kind = ? AND key = ?", stale)
        return found

    def put(self, kind: str, values: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]) -> None:
        """Stores values; one transaction, so give many at once."""
        now = int(time.time())
        pairs = values.items() if isinstance(values, Mapping) else values
        with self._using() as connection:
            if connection is None:
                return
            number = self._kind(connection, kind)
            with connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO entries (kind, key, value, checksum, used) VALUES (?, ?, ?, ?, ?)",
                    ((number, key, value, zlib.crc32(value), now) for key, value in pairs),
                )

    def count(self, name: str) -> int:
        """Adds one to a counter and returns it; counters are not removed by the size limit."""
        with self._using() as connection:
            if connection is None:
                return 1
            with connection:
                row = connection.execute(
                    "INSERT INTO counters (name, value) VALUES (?, 1) "
                    "ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                    (name,),
                ).fetchone()
            return int(row[0])
        return 1

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection | None]:
        """The connection, for one thread at a time; None once it has failed, as it may in the hands of the caller."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                self._give_up(error)

    def _kind(self, connection: sqlite3.Connection, name: str) -> int:
        if name not in self._kinds:
            with connection:
                connection.execute("INSERT OR IGNORE INTO kinds (name) VALUES (?)", (name,))
            row = connection.execute("SELECT id FROM kinds WHERE name = ?", (name,)).fetchone()
            self._kinds[name] = int(row[0])
        return self._kinds[name]

    def _open(self) -> sqlite3.Connection | None:
        was_damaged = False
        for attempt in range(_OPEN_ATTEMPTS):
            connection: sqlite3.Connection | None = None
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, _SCHEMA_VERSION):
                    raise sqlite3.DatabaseError(f"cache format {version}")
                connection.executescript(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                return connection
            except (sqlite3.Error, OSError) as error:
                if connection is not None:
                    connection.close()
                if "locked" in str(error) and attempt < _OPEN_ATTEMPTS - 1:
                    time.sleep(0.05)  # another process is just making it; SQLite's own waiting does not cover that
                    continue
                is_damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
                if is_damaged and not was_damaged:
                    _LOG.warning("The cache %s cannot be used (%s) and is made anew.", self.path, error)
                    for suffix in ("", "-wal", "-shm"):
                        with contextlib.suppress(OSError):
                            self.path.with_name(self.path.name + suffix).unlink()
                    was_damaged = True
                    continue
                _LOG.warning("Working without a cache: %s (%s).", error, self.path)
                return None
        return None

    def _give_up(self, error: sqlite3.Error) -> None:
        _LOG.warning("The cache %s failed (%s); going on without it.", self.path, error)
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _evict(self) -> None:
        assert self._connection is not None  # noqa: S101 - close() checked
        pages, page_size = (self._connection.execute(f"PRAGMA {n}").fetchone()[0] for n in ("page_count", "page_size"))
        excess = pages * page_size - self._limit_bytes
        if excess <= 0:
            return
        with self._connection:
            rows = self._connection.execute("SELECT rowid, length(value) FROM entries ORDER BY used, rowid")
            doomed = []
            for rowid, size in rows:
                if excess <= 0:
                    break
                doomed.append((rowid,))
                excess -= size
            self._connection.executemany("DELETE FROM entries WHERE rowid = ?", doomed)
        self._connection.executescript("PRAGMA incremental_vacuum;")  # as a script: one step frees one page only


def _limit_bytes() -> int:
    text = os.environ.get("FIELDGUIDE_CACHE_GB", str(_DEFAULT_LIMIT_GB))
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise FieldguideError(f"FIELDGUIDE_CACHE_GB should be a number of gigabytes; it is {text!r}.\nhint: 10, for example.")
    return int(limit * 1e9)
