"""Projects that are deleted while they are sent to, and made again: embedded, and on Kafka and PostgreSQL."""
import json
import os
import sqlite3
import time

import pytest
import requests

import mm
import test_modelmon_run as running
from test_modelmon_tool import tool

both = pytest.mark.parametrize("embedded", [True, False])


def make(m, name="shop"):
    running.call(m, "PUT", name, {"metadata": {"name": name}, "spec": {"monitoring": {"base_period": "2s", "enabled": True}}})


def delete(m, name="shop"):
    answer = requests.delete(m.url(f"/api/v1/projects/{name}"), headers={"x-mlrun-deletion-strategy": "cascade"}, timeout=30)
    assert answer.status_code == 204, answer.text


def send(m, first, n, name="shop", **more):
    body = "\n".join(json.dumps({"model": "price", "id": f"r{i}", "inputs": [[i]], "outputs": [1], **more}) for i in range(first, first + n))
    answer = mm.wait_for(lambda: (lambda a: a if a.status_code == 202 else None)(m.post(f"/{name}", body)), 20)
    assert answer.json()["accepted"] == n


def results(m):
    assert m.child.poll() is None, m.text()[-2000:]
    found = running.call(m, "GET", "shop/model-endpoints")["endpoints"]
    return found and running.drift(m, found[0]["metadata"]["uid"])


def rows_of(w, embedded, sql):
    if not embedded:
        return [tuple(r.values()) for r in w.rows(sql)]
    db = sqlite3.connect(os.path.join(w.folder, "data/modelmon.db"))
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


@both
def test_a_project_made_again_has_results_of_its_own_rows(embedded):
    with mm.World() as w, running.start(w, embedded, MIN_SAMPLES="20") as m:
        m.wait_ready(60)
        env = {"API_URL": m.url("")}
        if embedded:
            env["DATA_DIR"] = os.path.join(w.folder, "data")
        else:
            env.update((k, v) for k, v in w.env().items() if k in ("DATABASE_URL", "KAFKA_BROKERS"))
        make(m)
        send(m, 0, 40)
        mm.wait_for(lambda: results(m), 60, "a result")
        send(m, 100, 10)
        delete(m)
        # of a project that is gone nothing needs a hand, however long it stands
        time.sleep(2)
        stages = {s["stage"]: s["state"] for s in json.loads(tool("status", "--json", "--patience=1s", **env).stdout)["stages"]}
        assert stages["statistics"] == "ok" and stages["lake"] == "ok", stages
        make(m)
        assert not running.call(m, "GET", "shop/model-endpoints")["endpoints"]
        send(m, 200, 40)
        mm.wait_for(lambda: results(m), 60, "a result of the next one")
        assert m.ready()
        mm.wait_for(lambda: not rows_of(w, embedded, "SELECT 1 FROM pending_windows"), 60, "all windows closed")
        counted = "SELECT sum(rows), count(DISTINCT project_id) FROM slots WHERE project_id = (SELECT id FROM projects)"
        assert rows_of(w, embedded, counted) == [(40, 1)]
        kept = "SELECT sum(rows) FROM manifest WHERE project_id = (SELECT id FROM projects)"
        mm.wait_for(lambda: rows_of(w, embedded, kept) == [(40,)], 30, "its rows in the lake")


@both
def test_a_project_deleted_with_events_on_their_way_costs_nobody_else_anything(embedded):
    with mm.World() as w, running.start(w, embedded) as m:
        m.wait_ready(60)
        make(m)
        for i in range(6):
            name = f"gone{i}"
            make(m, name)
            send(m, 0, 2, name)
            if i % 2:
                delete(m, name)
                make(m, name)
                m.post(f"/{name}", {"model": "price", "inputs": [[1]], "outputs": [1]})
            delete(m, name)
        send(m, 0, 40)
        mm.wait_for(lambda: results(m), 60, "a result of the one that lives")
        assert not m.events("pipeline_failed") and m.child.poll() is None
