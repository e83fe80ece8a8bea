"""modelmon export: a window's rows in the forms that other programs read. modelmon new-app."""
import io
import json
import os
import re
import shutil
import time

import pandas
import pytest
import requests

import mm
import test_modelmon_run as running
from test_modelmon_tool import tool


def place(w, embedded):
    if embedded:
        return {"DATA_DIR": os.path.join(w.folder, "data")}
    env = w.env()
    return {name: env[name] for name in ("DATABASE_URL", "LAKE_DIR")}


@pytest.mark.parametrize("embedded", [True, False])
def test_the_last_window_and_any_span_of_time(embedded, tmp_path):
    with mm.World() as w, running.start(w, embedded) as m:
        m.wait_ready(60)
        uid = running.make_price(m)
        where = place(w, embedded)
        early = tool("export", "shop/price", **where)
        assert early.returncode == 1 and "no window with rows has closed yet" in early.stderr
        running.send_prices(m, 40)
        done = mm.wait_for(lambda: (lambda t: t if t.returncode == 0 else None)(tool("export", "shop/price", **where)), 60, "rows")
        last = pandas.read_csv(io.StringIO(done.stdout))
        assert pandas.to_datetime(last["timestamp"]).dt.floor("2s").nunique() == 1
        assert set(last["endpoint_id"]) == {uid} and set(last["a"]) <= set(range(40)) and last["latency"].eq(2000).all()
        for name, read in (("rows.csv", pandas.read_csv), ("rows.parquet", pandas.read_parquet),
                           ("rows.json", lambda p: pandas.DataFrame(map(json.loads, open(p))))):
            path = tmp_path / name
            mm.wait_for(lambda: tool("export", f"shop/{uid}", "--start", "2020-01-01", "--to", path, **where).stdout.startswith("40 rows"),
                        30, "all rows")  # pylint: disable=cell-var-from-loop
            rows = read(path)
            assert sorted(rows["a"]) == list(range(40)) and len(rows) == 40 and rows["y"].eq(1).all(), name
        none = tool("export", "shop/price", "--end", "2020-01-01", **where)
        until = re.search(r"the lake has no rows of that time; it has all that came until (\S+Z),", none.stderr)
        assert none.returncode == 1 and abs(pandas.Timestamp(until[1]).timestamp() - time.time()) < 30, none.stderr
        for wrong, words in ((("shop/price", "--start", "soon"), "no instant"), (("shop/nothing",), "no endpoint nothing"),
                             (("price",), "PROJECT/ENDPOINT"), (("shop/price", "--start", "2020-01-01", "--to", "/nowhere/x.csv"), "/nowhere/x.csv")):
            done = tool("export", *wrong, **where)
            assert done.returncode == (2 if wrong == ("price",) else 1) and words in done.stderr, done.stderr


def test_json_has_null_for_what_is_no_number_and_history_comes_at_its_time(tmp_path):
    """Rows that say when they were are in that time's windows; a missing number of theirs is null, not NaN."""
    (tmp_path / "rows.csv").write_text("at,a,b,y\n" + "".join(f"2025-01-02 03:04:{i:02},{i},{'' if i % 2 else 1.5},1\n" for i in range(40)))
    with mm.World() as w, running.start(w, True) as m:
        m.wait_ready(60)
        where = place(w, True)
        assert tool("project", "shop", API_URL=m.url("")).returncode == 0
        send = ("replay", tmp_path / "rows.csv", "--to", m.url("/shop"), "--model", "price", "--outputs", "y")
        wrong = tool(*send, "--when", "typo")
        assert wrong.returncode == 2 and "no column typo" in wrong.stderr
        assert "no instant" in tool(*send[:4], "--model", "other", "--outputs", "y", "--when", "b").stderr
        missing = tool("replay", tmp_path / "rows.csv", "--to", m.url(""), "--outputs", "y")
        assert missing.returncode == 2 and "--to " + m.url("/PROJECT") in missing.stderr, missing
        done = tool(*send, "--when", "at")
        assert done.returncode == 0, done.stderr
        span = ("--start", "2025-01-02T03:04:00Z", "--end", "2025-01-02T03:04:40Z", "--format", "json")
        text = mm.wait_for(lambda: (lambda t: t if t.count("\n") == 40 else None)(tool("export", "shop/price", *span, **where).stdout), 60, "rows")
        rows = [json.loads(line, parse_constant=lambda word: pytest.fail(word)) for line in text.splitlines()]
        assert [r["b"] for r in rows] == [1.5, None] * 20 and [r["a"] for r in rows] == list(range(40)) and "at" not in rows[0]


@pytest.mark.parametrize("embedded", [True, False])
def test_rows_with_what_was_true(embedded, tmp_path):
    """Labels by request alone, by model, by uid, a list of as many as rows; the latest counts; those of no row are counted apart."""
    with mm.World() as w, running.start(w, embedded) as m:
        m.wait_ready(60)
        where, send = place(w, embedded), m.url("/shop")
        (tmp_path / "train.csv").write_text("a,y\n" + "".join(f"{k},{k % 2}\n" for k in range(40)))
        assert tool("project", "shop", API_URL=m.url("")).returncode == 0
        assert tool("reference", "shop/price", "--csv", tmp_path / "train.csv", "--labels", "y", "--create", API_URL=m.url("")).returncode == 0
        uid = running.call(m, "GET", "shop/model-endpoints")["endpoints"][0]["metadata"]["uid"]
        events = [{"model": "price", "id": f"r{k}", "inputs": [[k]], "outputs": [1]} for k in range(5)]
        events.append({"model": "price", "id": "two", "inputs": [[10], [11]], "outputs": [1, 0]})
        label = {"kind": "label"}
        said = [{**label, "request_id": "r0", "label": 7}, {**label, "request_id": "r0", "label": 7},  # again: one row still
                {**label, "request_id": "r1", "label": "cat", "model": "price"},
                {**label, "request_id": "r2", "label": 1, "when": running.iso(-60), "endpoint_id": uid},
                {**label, "request_id": "r2", "label": 0, "when": running.iso(-3600)},
                {**label, "request_id": "two", "label": [0, {"k": 1}]}, {**label, "request_id": "nobody", "label": 1},
                {**label, "request_id": "r3", "label": 1, "endpoint_id": "another"}]
        assert mm.wait_for(lambda: (lambda a: a if a.status_code == 202 else None)(requests.post(send, json=events, timeout=20)), 20)
        answer = requests.post(send, json=said, timeout=20)
        assert answer.status_code == 202, answer.text

        def exported():
            done = tool("export", "shop/price", "--labels", "--start", "2020-01-01", **where)
            return done if "5 of 7 rows have a label; 1 requests with one are not among them" in done.stderr else None
        done = mm.wait_for(exported, 40, "all rows and labels")
        rows = pandas.read_csv(io.StringIO(done.stdout))
        told = [(a, None if pandas.isna(v) else v) for a, v in zip(rows["a"], rows["modelmon_label"])]
        assert told == [(0, "7"), (1, "cat"), (2, "1"), (3, None), (4, None), (10, "0"), (11, '{"k":1}')], told
        assert (pandas.Timestamp.utcnow() - pandas.to_datetime(rows["modelmon_label_when"][2], utc=True)).seconds < 600 and "y" in rows
        assert "modelmon_label" not in tool("export", "shop/price", "--start", "2020-01-01", **where).stdout


def test_where_nothing_is_kept_it_says_what_to_set(tmp_path):
    done = tool("export", "shop/price", DATA_DIR=str(tmp_path))
    assert done.returncode == 1 and "DATA_DIR" in done.stderr and os.listdir(tmp_path) == []
    assert tool("export", "shop/price", "--format", "xml").returncode == 2


def test_new_app_makes_what_the_script_makes(tmp_path):
    for name in ("common/app", "services", "tests/unit", "scripts"):
        os.makedirs(tmp_path / name)
    shutil.copy(os.path.join(mm.ROOT, "scripts/new-app"), tmp_path / "scripts")
    done = tool("new-app", "my-app", "--dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "services/my-app/main.c").exists() and (tmp_path / "tests/unit/test_app_my_app.c").exists()
    assert tool("new-app", "my-app", "--dir", tmp_path).returncode == 2
    nowhere = tool("new-app", "my-app", "--dir", tmp_path / "services")
    assert nowhere.returncode == 1 and "--dir" in nowhere.stderr
