"""README's own lines, as a newcomer types them: own files, drift seen, rows exported, an event by curl, an app of one's own."""
import os
import re
import socket
import subprocess

import numpy
import pandas
import pytest
import requests
import yaml
from cloudevents.conversion import to_binary
from cloudevents.http import CloudEvent

import mm
import serving

ROOT = os.environ["MM_ROOT"]
with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
    README = readme.read()


def block(title, language="sh"):
    section = README.split("## " + title, 1)[1].split("\n## ", 1)[0]
    return re.search(rf"```{language}\n(.*?)```", section, re.S).group(1)


def people(n, older=0, seed=5):
    r = numpy.random.default_rng(seed)
    age = r.normal(40 + older, 8, n)
    return pandas.DataFrame({"age": age, "income": r.normal(3000 + 100 * older, 400, n), "price": age / 4 + r.normal(0, 0.5, n)})


def files(folder):
    people(2000).to_csv(folder / "train.csv", index=False)
    people(300, seed=6).to_csv(folder / "yesterday.csv", index=False)
    people(300, older=60, seed=7).to_csv(folder / "today.csv", index=False)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def bash(lines, folder, port, timeout=120):
    """The lines as they stand, but for the port; what they start ends with them."""
    lines = lines.replace("8080", str(port))
    env = dict({k: v for k, v in os.environ.items() if k != "DATA_DIR"}, HTTP_PORT=str(port), API_URL=f"http://127.0.0.1:{port}")
    script = "trap 'kill $(jobs -p) 2> /dev/null || :; wait' EXIT\n" + lines
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, timeout=timeout, text=True,
                          capture_output=True, check=False)


def test_your_first_hour_and_curl(tmp_path):
    files(tmp_path)
    os.symlink(os.path.join(ROOT, "build"), tmp_path / "build")
    done = bash(block("Your first hour") + block("Any serving layer"), tmp_path, free_port())
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "run.log").read_text()[-3000:]
    out = done.stdout
    assert "version 1: 3 columns of 2000 rows" in out and out.count("300 events accepted, 0 rejected") == 2
    rows = [line for line in out.splitlines() if re.match(r"\d{4}-\d\d-\d\dT", line)]
    assert [re.search("no drift|drift detected", line)[0] for line in rows] == ["no drift", "drift detected"] * 2, out
    assert [line.rsplit("  ", 1)[1].split(":")[0] for line in rows[:2]] == ["no drift", "2 of 2 features drift"], out
    exported = pandas.read_csv(tmp_path / "last-window.csv")
    assert len(exported) == 300 and exported["age"].mean() > 90 and "price" in exported
    assert out.splitlines()[-1].startswith('{"status":"accepted"')


def inline(pattern):
    """A command that README has between its lines."""
    return re.search(rf"`({pattern}[^`]*)`", README).group(1)


def test_the_commands_between_the_lines(tmp_path):
    """`modelmon drift`, `project`, `demo` and the completion, as they stand in README."""
    files(tmp_path)
    os.symlink(os.path.join(ROOT, "build"), tmp_path / "build")
    path = "export PATH=$PWD/build/bin:$PATH\n"
    done = bash(path + inline("modelmon drift --reference"), tmp_path, free_port())
    assert done.returncode == 0 and "drift detected" in done.stdout, done.stdout + done.stderr
    assert "`--check --features`" in README
    built = bash(path + inline("modelmon drift --reference") + " --check --features", tmp_path, free_port())
    assert built.returncode == 3, built.stdout + built.stderr
    done = bash(path + inline("source <[(]modelmon completion[)]") + "; complete -p modelmon; modelmon --help", tmp_path, free_port())
    assert done.returncode == 0 and "_modelmon" in done.stdout and "serving-spec" in done.stdout, done.stderr
    port = free_port()
    lines = block("Your first hour").split("modelmon reference", 1)[0] + inline("modelmon project flowers") + "\n"
    event = '{"model":"iris","inputs":[[5.1,3.5]],"outputs":[0]}'
    done = bash(lines + f"curl -fsS --retry 20 --retry-delay 1 --retry-all-errors $API/flowers -d '{event}'", tmp_path, port)
    assert done.returncode == 0 and "project flowers made" in done.stdout and '{"status":"accepted"' in done.stdout, done.stdout + done.stderr
    demo = bash(inline("DEMO_EXIT=1") + " " + inline("build/bin/modelmon demo"), tmp_path, port)
    assert demo.returncode == 0 and "Drift found." in demo.stdout, demo.stdout + demo.stderr


def test_kserve_sends_what_the_block_makes_it_send():
    logger = yaml.safe_load(block("Any serving layer", "yaml"))["spec"]["predictor"]["logger"]
    assert logger["mode"] == "all" and logger["url"].endswith(":8080/flowers")
    with mm.World() as w, w.service("stream", **serving.FAST) as stream:
        stream.wait_ready()
        w.project("flowers")
        serving.wait_topic(w, "flowers")
        for kind, body in (("request", {"instances": [[6.8, 2.8], [6.0, 3.4]]}), ("response", {"predictions": [1, 2]})):
            event = CloudEvent({"id": "id-1", "source": "http://localhost:9081/", "type": f"org.kubeflow.serving.inference.{kind}",
                                "inferenceservicename": "iris", "namespace": "default", "component": "predictor", "endpoint": "",
                                "datacontenttype": "application/json"}, body)
            headers, data = to_binary(event)
            answer = requests.post(stream.url("/flowers"), data=data, headers=headers, timeout=20)
            assert answer.status_code == 202, answer.text
        serving.wait_handled(w, "flowers")
        uid = w.one("SELECT uid FROM endpoints WHERE name = 'iris'")["uid"]
        rows = mm.wait_for(lambda: serving.lake_rows(w, "flowers", uid), 30, "rows")
        assert sorted(r["p0"] for r in rows) == [1.0, 2.0]


@pytest.fixture
def tree(tmp_path):
    """A copy of the sources and of what is built of them."""
    for name in ("Makefile", "common", "services", "scripts", "tests"):
        subprocess.run(["cp", "-a", os.path.join(ROOT, name), tmp_path], check=True)
    os.mkdir(tmp_path / "build")
    for name in ("gen", "rel", "bin"):
        subprocess.run(["cp", "-a", os.path.join(ROOT, "build", name), tmp_path / "build"], check=True)
    os.symlink(os.path.realpath(os.path.join(ROOT, ".deps")), tmp_path / ".deps")
    return tmp_path


def test_your_own_app(tree):
    files(tree)
    code = block("Your own app in 30 lines", "c")
    assert code.count("\n") <= 30
    command = re.search(r"`(make build/bin/my-app && [^`]*)`", README).group(1)

    def run(line):
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(["bash", "-euc", line], cwd=tree, env=env, timeout=200, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout
    run("build/bin/modelmon new-app my-app")
    run(command)  # as it was made
    with open(tree / "services/my-app/main.c", "w") as f:
        f.write(code)
    told = run(command)
    assert r'\"result_name\":\"missing\"' in told and r'\"detected\\\":0.25' in told and r'\"metric_name\":\"rows\"' in told, told
