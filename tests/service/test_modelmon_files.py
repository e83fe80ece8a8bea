"""Files larger than memory, labels nobody asked for, and a replay to a broker."""
import json
import os
import subprocess

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
    for size in (4, 120):
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
