"""The catalog's file: a SQLite data base beside the runs, opened if it can be, made anew if not.

Nothing is ever lost with it. It is not synced: what a power cut makes of it is found out by seals
(``catalog_rows``) or by SQLite, and then it is made anew.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from holdfast.history.catalog_rows import Row, digest_of
from holdfast.records import marker
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.store.modes import Modes

_log = logging.getLogger("holdfast")

NAME = "catalog.sqlite"
VERSION = 2
_APPLICATION_ID = 0x686F6C64
_PATIENCE_S = 2.0
_COLUMNS = "run, seq, size, modified_s, body, seal"
_SCHEMA = """
CREATE TABLE store (id TEXT NOT NULL);
CREATE TABLE commits (
    run TEXT, seq INTEGER, size INTEGER, modified_s REAL, body BLOB, seal BLOB,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE TABLE shared (digest TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID;
CREATE TABLE runs (
    run TEXT, what TEXT, stamp TEXT, body BLOB, seal TEXT, PRIMARY KEY (run, what)
) WITHOUT ROWID;
"""


class Untrusted(Exception):
    """The catalog is not what some holdfast of this version has written for this store."""


def path_of(store: ObjectStore) -> str | None:
    """Return where the catalog of a store lies, or None where it has none on disk.

    Only a plain folder has one. One that is sealed has none in particular, however it is made: the
    catalog would tell in the clear what the store keeps secret.
    """
    is_plain = isinstance(store, LocalStore) and not getattr(store, "is_sealed", False)
    return os.path.join(store.location, NAME) if is_plain else None


def is_damage(error: Exception) -> bool:
    """Say whether an error tells of what the file holds; else it cannot be used just now."""
    if not isinstance(error, sqlite3.OperationalError):
        return True
    # Of text that is none Python tells itself, without a code; SQLite's most general one is for
    # tables and columns that are not as they should be.
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF == sqlite3.SQLITE_ERROR


class CatalogFile:
    """An open catalog of a store, to be closed."""

    def __init__(self, connection: sqlite3.Connection, *, is_writable: bool) -> None:
        self._connection = connection
        self.is_writable = is_writable

    def rows(self, run: str) -> list[Row]:
        """Return the rows of a run.

        Raises:
            Untrusted: One of them has a byte that is not what was written.
        """
        query = f"SELECT {_COLUMNS} FROM commits WHERE run = ?"
        found = self._connection.execute(query, (run,))
        rows = [Row(*values) for values in found]
        if not all(row.is_whole for row in rows):
            raise Untrusted("is damaged")
        return rows

    def shared(self, digest: str) -> bytes:
        """Return what is kept under a digest.

        Raises:
            Untrusted: It is not there.
        """
        query = "SELECT body FROM shared WHERE digest = ?"
        found = self._connection.execute(query, (digest,)).fetchone()
        if found is None:
            raise Untrusted("is damaged")
        return bytes(found[0])

    def change(
        self, run: str, new: Iterable[Row], shared: Iterable[tuple[str, bytes]], gone: Iterable[int]
    ) -> None:
        """Put rows in, and take some out, in one step."""
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR IGNORE INTO shared VALUES (?, ?)", shared)
            connection.executemany(
                "INSERT OR REPLACE INTO commits VALUES (?, ?, ?, ?, ?, ?)",
                ((r.run, r.seq, r.size, r.modified_s, r.body, r.seal) for r in new),
            )
            keys = [(run, seq) for seq in gone]
            connection.executemany("DELETE FROM commits WHERE run = ? AND seq = ?", keys)

    def row(self, run: str, seq: int) -> Row:
        """Return one row.

        Raises:
            Untrusted: It is not there, or not what was written.
        """
        query = f"SELECT {_COLUMNS} FROM commits WHERE run = ? AND seq = ?"
        found = self._connection.execute(query, (run, seq)).fetchone()
        if found is None or not Row(*found).is_whole:
            raise Untrusted("is damaged")
        return Row(*found)

    def kept(self, run: str, what: str, stamp: str) -> bytes | None:
        """Return what was kept of a run as a whole, or None where it had another stamp.

        Raises:
            Untrusted: It is not what was written.
        """
        query = "SELECT body, seal FROM runs WHERE run = ? AND what = ? AND stamp = ?"
        found = self._connection.execute(query, (run, what, stamp)).fetchone()
        if found is None:
            return None
        if found[1] != _seal_of_run(run, what, stamp, found[0]):
            raise Untrusted("is damaged")
        return bytes(found[0])

    def keep(self, run: str, what: str, stamp: str, body: bytes) -> None:
        """Keep something of a run as a whole, for as long as its stamp stays."""
        values = (run, what, stamp, body, _seal_of_run(run, what, stamp, body))
        self._write("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", values)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        if self.is_writable:
            # Locked by others, or the disk is full: it is kept another time.
            with suppress(sqlite3.OperationalError):
                self._connection.execute(statement, values)

    def close(self) -> None:
        """Close it."""
        self._connection.close()


@contextmanager
def opened(store: ObjectStore, *, create: bool = False) -> Iterator[CatalogFile | None]:
    """Open the catalog of a store for a block; None where there is none to be had.

    Args:
        store: The store.
        create: Make it if it is not there; only who writes to the store does.
    """
    path = path_of(store)
    file = None
    if path is not None and (create or os.path.exists(path)):
        file = _open(store, path)
    try:
        yield file
    finally:
        if file is not None:
            file.close()


def discard(store: ObjectStore, why: str) -> None:
    """Remove a catalog that is not to be trusted, and say so."""
    path = path_of(store)
    if path is not None and os.path.exists(path):
        _log.warning(
            "The catalog of the store at %r %s. It is not used, and made anew from the commit "
            "records; no checkpoint depends on it.",
            store.location,
            why,
        )
        remove(path)


def remove(path: str) -> None:
    """Remove the files of a catalog, as far as that is possible."""
    for suffix in ("-wal", "-shm", ""):
        with suppress(OSError):
            os.unlink(path + suffix)


def _open(store: ObjectStore, path: str) -> CatalogFile | None:
    store_id = marker.store_id(store)
    if store_id is None or not isinstance(store, LocalStore):
        return None
    try:
        return _open_writable(path, store_id, store.modes)
    except Untrusted as error:
        discard(store, str(error))
    except OSError:
        return _open_readable(path, store_id)
    except (sqlite3.DatabaseError, ValueError) as error:
        if not is_damage(error):
            return _open_readable(path, store_id)
        discard(store, f"is damaged ({error})")
    try:
        return _open_writable(path, store_id, store.modes)
    except (Untrusted, OSError, sqlite3.Error, ValueError):
        return None


def _open_writable(path: str, store_id: str, modes: Modes) -> CatalogFile:
    # By us and not by SQLite, which would give it other modes, and would follow a link.
    fd = modes.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        # SQLite would wait for ever for what a pipe is to give.
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is no file", path)
    finally:
        os.close(fd)
    connection = _connect(path, "rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            _make(connection, store_id)
        _check(connection, store_id)
    except BaseException:
        connection.close()
        raise
    return CatalogFile(connection, is_writable=True)


def _open_readable(path: str, store_id: str) -> CatalogFile | None:
    """Open a catalog where nothing can be written: without locks, as every row proves itself."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    try:
        connection = _connect(path, "ro&immutable=1")
    except sqlite3.Error:
        return None
    try:
        _check(connection, store_id)
    except (Untrusted, sqlite3.Error, ValueError) as error:
        _log.info("The catalog %r is passed over: it %s.", path, error)
        connection.close()
        return None
    return CatalogFile(connection, is_writable=False)


def _seal_of_run(run: str, what: str, stamp: str, body: bytes) -> str:
    return digest_of(f"{run}\0{what}\0{stamp}\0".encode() + body)


def _connect(path: str, mode: str) -> sqlite3.Connection:
    from urllib.parse import quote

    uri = f"file:{quote(path)}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_PATIENCE_S, isolation_level=None)


def _make(connection: sqlite3.Connection, store_id: str) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] != 0:
            return  # Another process was faster.
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO store VALUES (?)", (store_id,))
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        # Last: it says that all of the above is there.
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _check(connection: sqlite3.Connection, store_id: str) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise Untrusted(f"is of version {version}, not {VERSION}")
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise Untrusted("is no catalog")
    found = connection.execute("SELECT id FROM store").fetchall()
    if found != [(store_id,)]:
        raise Untrusted("is that of another store")
