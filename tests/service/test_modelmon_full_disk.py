"""The embedded default on a disk that is full: it says so, takes nothing it cannot keep, loses nothing, and goes on by itself."""
import json
import os
import subprocess

import requests

import mm
import test_modelmon_run as running
from test_modelmon_tool import MODELMON, tool

ROOM = "24m"


def start(w):
    disk = os.path.join(w.folder, "disk")
    os.mkdir(disk)
    m = running.start(w, embedded=True, LAKE_MEMORY="64MiB")
    m.env["DATA_DIR"] = os.path.join(disk, "data")
    m.command = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={ROOM} tmpfs {disk} && exec "$0" "$@"', *m.command]
    return m


def fill(path):
    """Every byte that is free; what takes one away afterwards is written again."""
    with open(path, "ab", buffering=0) as f:
        for size in (1 << 20, 4096):
            try:
                while True:
                    f.write(b"\0" * size)
            except OSError:
                pass


def post(m, ident):
    body = {"model": "price", "id": ident, "inputs": [[float(i) for i in range(1000)]], "outputs": [1]}
    return requests.post(m.url("/shop"), json.dumps(body), timeout=30)


def test_a_full_disk_costs_nothing_that_was_acknowledged():
    with mm.World() as w, start(w) as m:
        m.wait_ready(60)
        running.call(m, "PUT", "shop", {"metadata": {"name": "shop"}, "spec": {"monitoring": {"base_period": "2s", "enabled": True}}})
        taken = ["first"]
        mm.wait_for(lambda: post(m, "first").status_code == 202, 20, "the first event")
        disk = f"/proc/{m.child.pid}/root{w.folder}/disk"
        refused = None
        for i in range(200):
            fill(disk + "/fill")
            answer = post(m, f"full-{i}")
            if answer.status_code == 503:
                refused = answer
                break
            assert answer.status_code == 202
            taken.append(f"full-{i}")
        assert refused is not None and "/readyz says why" in refused.text and "send the request again" in refused.text
        ready = mm.wait_for(lambda: (lambda r: r.json() if r.status_code == 503 else None)(m.get("/readyz")), 20, "not ready")
        words = " ".join(d.get("detail", "") for d in ready["dependencies"])
        assert "make room on its disk" in words and m.child.poll() is None
        told = tool("status", API_URL=m.url(""))
        assert told.returncode == 1 and "make room" in told.stdout
        os.remove(disk + "/fill")
        mm.wait_for(lambda: post(m, "after").status_code == 202, 20, "room is seen")
        taken.append("after")
        m.wait_ready(30)
        where = os.path.join(w.folder, "rows.json")

        def kept():
            done = subprocess.run(["nsenter", "-t", str(m.child.pid), "-m", MODELMON, "export", "shop/price", "--start", "2020-01-01", "--to", where],
                                  env={"PATH": os.environ["PATH"], "DATA_DIR": m.env["DATA_DIR"]}, timeout=60, text=True,
                                  capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
            with open(where, encoding="utf-8") as f:
                found = sorted(json.loads(line)["request_id"] for line in f)
            assert found == sorted(taken), f"{found} of {sorted(taken)}"
            return True
        mm.wait_for(kept, 40, "every event that was acknowledged, once")
        code, _ = m.term()
        assert code == 0
    assert subprocess.run(["mountpoint", "-q", os.path.join(w.folder, "disk")], check=False).returncode != 0
