"""Reading the stores with their own clients: PostgreSQL by psycopg2, SQLite by Python's, Parquet by pyarrow."""
import os
import sqlite3

import numpy
import psycopg2
import psycopg2.extras
import pyarrow
import pyarrow.parquet


class Away(Exception):
    """The store does not answer now."""


class Store:
    def __init__(self, url):
        self.url, self._db = url, None

    def rows(self, sql):
        try:
            if self.url.startswith("sqlite://"):
                return self._sqlite(sql)
            return self._postgres(sql)
        except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.UndefinedTable, sqlite3.OperationalError) as e:
            self.close()
            raise Away(str(e)) from e

    def _postgres(self, sql):
        if self._db is None:
            self._db = psycopg2.connect(self.url, connect_timeout=3)
            self._db.autocommit = True
        with self._db.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(sql)
            return [dict(r) for r in cursor.fetchall()]

    def _sqlite(self, sql):
        db = sqlite3.connect(f"file:{self.url[len('sqlite://'):]}?mode=ro", uri=True, timeout=5)
        try:
            db.row_factory = sqlite3.Row
            return [dict(r) for r in db.execute(sql)]
        finally:
            db.close()

    def close(self):
        if self._db is not None:
            self._db.close()
        self._db = None


COLUMNS = ["endpoint_id", "request_id", "timestamp", "latency", "modelmon_row", "a", "b", "y"]


class Lake:
    """Files by the manifest; each is read once, they never change."""

    def __init__(self, root):
        self.root, self._files = root, {}

    def file(self, path):
        """{column: numpy array} of a file, and its bytes' SHA-256."""
        import hashlib
        if path not in self._files:
            with open(os.path.join(self.root, path), "rb") as f:
                data = f.read()
            table = pyarrow.parquet.read_table(pyarrow.BufferReader(data), columns=COLUMNS)
            columns = {name: table[name].to_numpy() for name in COLUMNS if name != "timestamp"}
            columns["timestamp"] = numpy.asarray(table["timestamp"].cast(pyarrow.timestamp("us", "UTC")).cast(pyarrow.int64()))
            self._files[path] = columns, hashlib.sha256(data).hexdigest()
        return self._files[path]

    def on_disk(self):
        """What a reader of the folders would find."""
        found = set()
        for folder, dirs, names in os.walk(self.root):
            dirs[:] = [d for d in dirs if not d.startswith(".")]
            found |= {os.path.relpath(os.path.join(folder, n), self.root) for n in names}
        return found
