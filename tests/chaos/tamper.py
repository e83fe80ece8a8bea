"""The checker's own test: a clean run's stores are spoiled in one way after the other, and each must be told."""
import contextlib
import os
import shutil
import sqlite3

import checker
from scene import Case
from store import Lake, Store

SLOT = ("project_id, endpoint_id, slot_start_us, slot_us, segment, schema_version, reference_version, topic, partition, {}, requests, "
        "rows, errors, estimated, format, body")
# What is done to the database, and a word of what must be said.
SPOILED = (
    ("DELETE FROM slots WHERE rowid = (SELECT min(rowid) FROM slots)", "Parquet"),
    ("UPDATE slots SET rows = rows + 1 WHERE rowid = (SELECT min(rowid) FROM slots)", "its bytes"),
    (f"INSERT INTO slots ({SLOT.format('flush_offset')}) SELECT {SLOT.format('flush_offset + 1000000')} FROM slots LIMIT 1",
     "the Parquet rows make"),
    ("DELETE FROM windows WHERE rowid = (SELECT max(rowid) FROM windows WHERE rows > 0)", "window"),
    ("UPDATE windows SET rows = rows - 1 WHERE rowid = (SELECT max(rowid) FROM windows WHERE rows > 0)", "window"),
    ("UPDATE windows SET revision = revision + 1 WHERE rowid = (SELECT max(rowid) FROM windows WHERE rows > 0)", "revision"),
    ("DELETE FROM results WHERE metric_id IN (SELECT id FROM metrics WHERE name = 'general_drift')", "results of"),
    ("UPDATE results SET value = value + 0.001 WHERE status >= 0", "is right"),
    ("UPDATE results SET status = status + 1 WHERE status >= 0", "is right"),
    ("DELETE FROM manifest WHERE rowid = (SELECT min(rowid) FROM manifest)", "in no manifest"),
    ("UPDATE manifest SET sha256 = 'x' WHERE rowid = (SELECT min(rowid) FROM manifest)", "not the file"),
    ("INSERT INTO outbox (project_id, topic, key, payload, created_us) VALUES (1, 't', 'k', '{}', 1)", "outbox"),
    ("INSERT INTO dead_letters (pipeline, topic, partition, \"offset\", at_us, project_id, reason, error, payload, size) "
     "VALUES ('x', 't', 0, 1, 1, 1, 'malformed_json', 'x', x'00', 1)", "dead letter"),
)


class Tamper(Case):
    name = "C1"
    kinds = ("embedded",)

    def run(self, r):
        r.pause(4, 5)

    def judged(self, r, path):
        r.t.services["modelmon"].term()  # nothing mends it meanwhile
        clean, lake = os.path.join(r.t.data, "modelmon.db"), r.t.lake()
        for number, (sql, words) in enumerate(SPOILED):
            copy = os.path.join(r.t.folder, f"spoiled-{number}.db")
            with contextlib.closing(sqlite3.connect(clean)) as db, contextlib.closing(sqlite3.connect(copy)) as out:
                db.backup(out)
                changed = out.execute(sql).rowcount
                out.commit()
            report = checker.check(path, Store("sqlite://" + copy), lake, r.t.setup)
            r.injections += 1
            if changed < 1 or not any(words in f for f in report.faults):
                r.faults.append(f"not noticed ({changed} rows): {sql}: {report.faults[:2]}")
        self.files(r, path)
        self.journal(r, path)

    def files(self, r, path):
        """A file that is there twice, and one that is cut."""
        store, lake = r.t.store(), r.t.lake()
        name = store.rows("SELECT path FROM manifest")[0]["path"]
        full = os.path.join(lake.root, name)
        shutil.copy(full, full.replace(".parquet", "-again.parquet"))
        if not any("in no manifest" in f for f in checker.check(path, store, r.t.lake(), r.t.setup).faults):
            r.faults.append("not noticed: a copy of a file")
        os.remove(full.replace(".parquet", "-again.parquet"))
        with open(full, "r+b") as f:
            f.truncate(os.path.getsize(full) - 100)
        report = checker.check(path, store, r.t.lake(), r.t.setup)
        if not report.lost or not report.faults:
            r.faults.append("not noticed: a file that is cut")
        r.injections += 2

    def journal(self, r, path):
        """Events the system never got, and events nobody sent."""
        store, lake = r.t.store(), r.t.lake()
        with open(path, encoding="utf-8") as f:
            lines = f.readlines()
        short = os.path.join(r.t.folder, "short")
        with open(short, "w", encoding="utf-8") as f:
            f.writelines(lines[2:])
        if not checker.check(short, store, lake, r.t.setup).phantom:
            r.faults.append("not noticed: rows that nobody sent")
        with open(short, "w", encoding="utf-8") as f:
            f.writelines(lines)
            f.write('{"sent": [["never", "%s", 1, 1, [[1, 1]], [1]]]}\n{"acked": ["never"]}\n' % r.t.uids[0])
        if not checker.check(short, store, lake, r.t.setup).lost:
            r.faults.append("not noticed: an acknowledged event that is nowhere")
        r.injections += 2
