"""A load on a plain SQLite database, to try the tools themselves on.

python -m crash.plain DATABASE DIARY SYNCHRONOUS    200 rows, each marked in the diary once it is committed
python -m crash.plain DATABASE fail NTH ERRNO       one row while the nth call fails; prints what came of it
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from . import shim


def main(database: str, diary: str, *arguments: str) -> None:
    """See the module."""
    path = Path(database)
    if diary != "fail":
        shim.record(path.parent, Path(diary))
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    if diary != "fail":
        db.execute(f"PRAGMA synchronous = {arguments[0]}")
        db.execute("PRAGMA wal_autocheckpoint = 20")
        for i in range(200):
            db.execute("INSERT INTO t VALUES (?, zeroblob(700))", (i,))
            shim.mark(i + 1)
        return
    db.execute("PRAGMA synchronous = FULL")
    db.execute("INSERT INTO t VALUES (1, x'00')")
    try:
        with shim.fault(path.parent, int(arguments[0]), int(arguments[1])) as told:
            db.execute("INSERT INTO t VALUES (2, x'00')")
        print(f"written, {told.calls} calls")
    except sqlite3.Error as error:
        print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
