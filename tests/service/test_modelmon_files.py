"""Files larger than memory, labels nobody asked for, and a replay to a broker."""
import json
import os
import sqlite3
import subprocess

import pytest

import mm
import test_modelmon_run as running
from test_modelmon_tool import MODELMON, tool

ROW = "".join(f"{i % 97},{i % 13}.5,{'Rome' if i % 2 else 'Oslo'}\n" for i in range(20000)).encode()


def write_csv(path, megabytes):
    with open(path, "wb") as f:
        f.write(b"a,b,city\n")
        for _ in range(megabytes * 1000000 // len(ROW)):
            f.write(ROW)


def peak_of(*args):
    """(exit code, stderr, KiB of memory at most)"""
    child = subprocess.Popen([MODELMON, *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    words = child.stderr.read()
    child.stderr.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, words, usage.ru_maxrss


def test_memory_does_not_grow_with_the_sample(tmp_path):
    write_csv(tmp_path / "train.csv", 1)
    peaks = []
    for size in (4, 1000 if os.environ.get("MM_TEST_DEEP") else 120):  # megabytes
        write_csv(tmp_path / "sample.csv", size)
        code, words, peak = peak_of("drift", "--reference", tmp_path / "train.csv", "--sample", tmp_path / "sample.csv")
        assert code == 0, words
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 64 * 1024, peaks


def test_a_replay_to_a_broker_is_what_the_stream_service_takes(tmp_path):
    write_csv(tmp_path / "rows.csv", 1)
    rows = len(ROW.splitlines()) * (1000000 // len(ROW))
    with mm.World() as w:
        topic = w.topic("p", None)
        w.make_topic(topic, 2)
        done = tool("replay", tmp_path / "rows.csv", "--to", f"kafka://{w.env()['KAFKA_BROKERS']}/{topic}", "--model", "m", "--outputs", "city")
        assert done.returncode == 0 and done.stdout.startswith(f"{rows} events accepted, 0 rejected"), done.stderr + done.stdout
        values = [json.loads(r.value) for r in w.consume(topic)]
        assert len(values) == rows and {v["model"] for v in values} == {"m"} and values[0]["columns"] == ["a", "b"]
        nobody = tool("replay", tmp_path / "rows.csv", "--to", "kafka://127.0.0.1:1/t", "--model", "m", "--outputs", "city")
        assert nobody.returncode == 1 and nobody.stderr


def test_a_reference_of_other_columns_and_a_label_for_nobody_are_told(tmp_path):
    (tmp_path / "other.csv").write_text("height,width\n" + "1,2\n2,3\n" * 50)
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        running.make_price(m)
        running.send_prices(m, 40)
        done = tool("reference", "shop/price", "--csv", tmp_path / "other.csv", API_URL=m.url(""))
        assert done.returncode == 0 and "the requests have columns that this reference lacks: a (1 of 1)" in done.stdout, done.stdout
        missing = tool("reference", "shop/price", "--csv", tmp_path / "other.csv", "--labels", "weight", API_URL=m.url(""))
        assert missing.returncode == 1 and "there is no column weight" in missing.stderr
        label = m.post("/shop", json.dumps({"kind": "label", "request_id": "nobody-s", "label": 3, "model": "price"}))
        assert label.status_code == 202, label.text
        for sink in ("statistics", "lake"):
            mm.wait_for(lambda s=sink: m.metric("modelmon_stream_events_total", sink=s, outcome="label") == 1)
        kept = sqlite3.connect(f"file:{os.path.join(w.folder, 'data/modelmon.db')}?mode=ro", uri=True)
        mm.wait_for(lambda: kept.execute("SELECT request_id, label FROM labels").fetchall() == [("nobody-s", "3")])
        kept.close()


def test_lines_inside_quotes_are_part_of_a_value(tmp_path):
    (tmp_path / "train.csv").write_text('a,city\n' + '1,"New\nYork"\n2,"Oslo"\n' * 200)
    (tmp_path / "same.csv").write_bytes(('city,a\r\n' + '"New\nYork",1\r\n"Oslo",2\r\n' * 200).encode())
    (tmp_path / "other.csv").write_text('a,city\n' + '1,"New\nYork"\n2,"Ro""me\n"\n' * 200)
    done = tool("drift", "--reference", tmp_path / "train.csv", "--sample", tmp_path / "same.csv", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["general_drift"] == 0, done.stdout + done.stderr
    done = tool("drift", "--reference", tmp_path / "train.csv", "--sample", tmp_path / "other.csv", "--json")
    features = json.loads(done.stdout)["features"]
    assert features["city"]["tvd"] == 0.5 and features["a"]["tvd"] == 0, features


def test_a_pipe_is_no_file(tmp_path):
    (tmp_path / "train.csv").write_text("a\n1\n2\n")
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it
    for pair in (("train.csv", "pipe"), ("pipe", "train.csv"), ("train.csv", "."), ("train.csv", "nowhere")):
        done = tool("drift", "--reference", tmp_path / pair[0], "--sample", tmp_path / pair[1])
        said = {"pipe": "pipe: not a file", ".": "not a file", "nowhere": "No such file"}[next(n for n in pair if n != "train.csv")]
        assert done.returncode == 1 and said in done.stderr, done.stderr


def test_replayed_columns_have_the_names_of_the_header(tmp_path):
    (tmp_path / "rows.csv").write_text("age,total price,city\n" + "".join(f"{i},{i}.5,Rome\n" for i in range(60)))
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        running.call(m, "PUT", "shop", {"metadata": {"name": "shop"}, "spec": {"monitoring": {"base_period": "2s", "enabled": True}}})
        done = tool("replay", tmp_path / "rows.csv", "--to", m.url("/shop"), "--model", "price", "--outputs", "total price,city")
        assert done.returncode == 0 and done.stdout.startswith("60 events accepted, 0 rejected"), done.stderr
        [spec] = mm.wait_for(lambda: [e["spec"] for e in running.call(m, "GET", "shop/model-endpoints")["endpoints"] if e["spec"]["label_names"]], 30)
        assert spec["feature_names"] == ["age"] and spec["label_names"] == ["total_price", "city"]


@pytest.mark.parametrize("words, said", [
    (["results", "shop"], "PROJECT/ENDPOINT is wanted, not shop"),
    (["results", "shop/"], "PROJECT/ENDPOINT is wanted, not shop/"),
    (["reference", "/price", "--csv", "now.csv"], "PROJECT/ENDPOINT is wanted, not /price"),
    (["export", "shop"], "PROJECT/ENDPOINT is wanted, not shop"),
    (["serving-spec", "shop/"], "PROJECT/FUNCTION is wanted, not shop/"),
    (["replay", "now.csv", "--outputs", "b"], "--to: the project is missing"),
    (["replay", "now.csv", "--to", "ftp://here/shop", "--outputs", "b"], "--to: http://HOST:PORT/PROJECT"),
    (["replay", "now.csv", "--to", "http://127.0.0.1:1/shop", "--outputs", "c"], "--outputs must name"),
    (["replay", "now.csv", "--to", "http://127.0.0.1:1/shop", "--outputs", "b", "--when", "c"], "no column c beside"),
])
def test_what_was_typed_wrong_ends_with_2(tmp_path, words, said):
    (tmp_path / "now.csv").write_text("a,b\n1,2\n3,4\n")
    done = tool(*[tmp_path / w if w == "now.csv" else w for w in words])
    assert done.returncode == 2 and said in done.stderr and done.stdout == "", done


def test_a_replay_that_nobody_takes_says_its_own_option(tmp_path):
    (tmp_path / "now.csv").write_text("a,b\n1,2\n3,4\n")
    done = tool("replay", tmp_path / "now.csv", "--to", "http://127.0.0.1:1/shop", "--outputs", "b")
    assert done.returncode == 1 and "--to" in done.stderr and "API_URL" not in done.stderr, done
