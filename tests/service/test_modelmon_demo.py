"""modelmon demo: the story from the built binary, and what is left of it: nothing."""
import os
import re
import signal
import socket
import subprocess
import time

import requests

import mm

DEMO = [os.path.join(mm.BIN, "modelmon"), "demo"]


def env(tmp_path, **more):
    return {"PATH": os.environ["PATH"], "TERM": "dumb", "TMPDIR": str(tmp_path), "MM_TEST_RUN": os.environ.get("MM_TEST_RUN", ""),
            "KAFKA_BROKERS": "127.0.0.1:1", "DATABASE_URL": "postgresql://127.0.0.1:1/x", **more}  # it takes no notice of them


def started(tmp_path, *args):
    child = subprocess.Popen([*DEMO, *args], env=env(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return child, child.stdout


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return f.read().split()


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_story_ends_by_itself_with_drift_that_was_not_there_before(tmp_path):
    began = time.monotonic()
    done = subprocess.run(DEMO, env=env(tmp_path, DEMO_EXIT="1"), timeout=120, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert time.monotonic() - began < 60
    lines = [line for line in done.stdout.splitlines() if "general_drift" in line]
    assert [line.rsplit("  ", 1)[1] for line in lines][::2] == ["no drift", "drift detected"] and len(lines) == 3
    values = [float(re.search(r" (\d\.\d\d) ", line).group(1)) for line in lines]
    assert values == sorted(values) and values[0] < 0.5 and values[2] > 0.9
    assert "Drift found." in done.stdout and "http" not in done.stdout, "what it would lead to is gone"
    assert os.listdir(tmp_path) == []


def test_its_page_is_there_until_ctrl_c(tmp_path):
    child, out = started(tmp_path)
    try:
        page = next(re.search(r"http://\S+", line).group(0) for line in out if "Look at it" in line)
        assert b"<svg" in requests.get(page, timeout=10).content
        run, = children_of(child.pid)
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
        assert is_gone(run) and os.listdir(tmp_path) == []
    finally:
        child.kill()
        child.wait()
        out.close()
        child.stderr.close()


def test_nothing_runs_on_when_it_is_killed(tmp_path):
    child, out = started(tmp_path, "--data-dir", str(tmp_path / "kept"))
    try:
        assert "trained on 100 Adelie" in out.readline()
        run, = children_of(child.pid)
    finally:
        child.kill()
        child.wait()
        out.close()
        child.stderr.close()
    mm.wait_for(lambda: is_gone(run), 20, "the end of modelmon run")
    assert os.path.exists(tmp_path / "kept/modelmon.db")


def test_it_says_why_it_cannot_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run([*DEMO, "--http-port", str(taken.getsockname()[1])], env=env(tmp_path), timeout=60, text=True,
                              capture_output=True, check=False)
    assert done.returncode == 1 and "Address already in use" in done.stderr, done.stderr
    assert os.listdir(tmp_path) == []
    done = subprocess.run([*DEMO, "--http-port", "many"], env=env(tmp_path), timeout=60, text=True, capture_output=True, check=False)
    assert done.returncode == 1 and "HTTP_PORT" in done.stderr, done.stderr
