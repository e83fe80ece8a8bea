"""An app of one's own: made by scripts/new-app, built, unit tested and run; and one that crashes, hangs and writes nonsense."""
import json
import os
import shutil
import subprocess

import pytest

import mm

PERIOD = 10 * mm.MINUTE_US
START = mm.now_us() // PERIOD * PERIOD - 2 * PERIOD
END = START + PERIOD
MODES = {"crash": "volatile int *p = 0; *p = 1;", "hang": "for (volatile int n = 0; n >= 0;) n = 1;",
         "nonsense": 'app_metric(out, "no name at all!", 1);', "cut": 'app_result(out, "x", 1, KIND_APP_ANOMALY, 0, STR("{"));'}


def copy_of_the_tree(target):
    """Sources and what is built of them, with their times: make builds only what is new."""
    os.mkdir(target)
    for name in ("Makefile", "common", "services", "scripts", "tests"):
        run("cp", "-a", os.path.join(mm.ROOT, name), target)
    os.mkdir(os.path.join(target, "build"))
    for name in ("gen", "rel", "san"):
        source = os.path.join(mm.ROOT, "build", name)
        if os.path.exists(source):
            run("cp", "-a", source, os.path.join(target, "build"))
    os.symlink(os.path.realpath(os.path.join(mm.ROOT, ".deps")), os.path.join(target, ".deps"))


def run(*command, cwd=None, rc=0):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    got = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                         timeout=240, check=False)
    assert got.returncode == rc, f"{' '.join(command)}: {got.returncode}\n{got.stdout.decode()[-3000:]}"
    return got.stdout.decode()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    tree = str(tmp_path_factory.mktemp("own") / "tree")
    copy_of_the_tree(tree)
    run("scripts/new-app", "my-app", cwd=tree)
    bad = os.path.join(tree, "services/my-bad-app")
    run("scripts/new-app", "my-bad-app", cwd=tree)
    with open(os.path.join(bad, "main.c")) as f:
        text = f.read()
    cases = "".join(f'    if (str_eqz(str_of(in->endpoint->name), "{name}")) {{ {code} }}\n' for name, code in MODES.items())
    with open(os.path.join(bad, "main.c"), "w") as f:
        f.write(text.replace("    uint64_t missing = 0, all = 0;\n", cases + "    uint64_t missing = 0, all = 0;\n"))
    run("make", "-j2", "build/bin/my-app", "build/bin/my-bad-app", "build/san/tests/unit/test_app_my_app", cwd=tree)
    yield tree
    shutil.rmtree(tree)


@pytest.fixture
def world():
    with mm.World() as w:
        yield w


def service(world, tree, name, **env):
    return mm.Service(name, world.env(**env), world.folder, [os.path.join(tree, "build/bin", name)])


def window(uid, app, revision=1):
    return {"start_infer_time": mm.mlrun_time(START - 1), "end_infer_time": mm.mlrun_time(END - 1), "endpoint_id": uid,
            "endpoint_name": "model", "endpoint_updated": "2025-01-01T00:00:00+00:00", "application_name": app,
            "modelmon": {"project": "p", "window_start_us": START, "window_end_us": END, "revision": revision}}


def answers(world):
    """[(endpoint, name, data)] in the order of the topic."""
    found = []
    for record in world.consume(world.topic("p", "model-monitoring-writer")):
        e = json.loads(record.value)
        data = json.loads(e["data"])
        found.append((e["endpoint_id"], data.get("result_name") or data.get("metric_name"), data))
    return found


def test_it_is_built_tested_and_tried_on_a_file(made, tmp_path):
    assert "1 test(s) run" in run("build/san/tests/unit/test_app_my_app", cwd=made)
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n1,\n3,4\n")
    printed = [json.loads(line) for line in run("build/bin/my-app", f"--try={rows}", "--detected=0.1", cwd=made).splitlines()]
    data = json.loads(printed[0]["data"])
    assert data["result_name"] == "missing" and data["result_value"] == 0.25 and data["result_status"] == 2
    assert json.loads(data["result_extra_data"]) == {"potential": 0.05, "detected": 0.1}
    assert "--nothing" in run("build/bin/my-app", f"--try={rows}", "--nothing=1", cwd=made, rc=2)
    assert "there is no column typo" in run("build/bin/my-app", f"--try={rows}", "--try-labels=typo", cwd=made, rc=2)
    run("scripts/check-layers", cwd=made)
    run("clang-format-14", "--dry-run", "-Werror", "--style=file:" + os.path.join(mm.ROOT, ".clang-format"),
        "services/my-app/main.c", "tests/unit/test_app_my_app.c", cwd=made)


@pytest.mark.parametrize("name", ["My-App", "a b", "-x", "x-", "", "histogram-drift-app", "../x", "my-batch"])
def test_names_that_cannot_be(made, name):
    assert "new-app:" in run("scripts/new-app", name, cwd=made, rc=2)


def test_it_serves_windows(world, made):
    with service(world, made, "my-app") as app:
        world.migrated()
        uid = world.endpoint(world.project("p"))["uid"]
        topic = world.topic("p", "my-app")
        mm.wait_for(lambda: world.rows("SELECT 1 FROM ledger WHERE topic = %s", topic), 30)
        assert world.rows("SELECT 1 FROM apps WHERE name = 'my-app' AND active")
        app.wait_ready()
        assert app.post("/p", window(uid, "my-app")).status_code == 202
        assert [a[1] for a in mm.wait_for(lambda: len(answers(world)) == 2 and answers(world))] == ["missing", "rows"]


def test_a_bad_app_costs_its_window_alone_and_its_endpoint_says_so(world, made):
    """Each kind of failure between good windows; the process begins anew by itself."""
    with service(world, made, "my-bad-app", APP_TIMEOUT="2s", CONSUMER_SESSION="6s") as app, \
            service(world, made, "my-app") as other:
        world.migrated()
        project = world.project("p")
        topic = world.topic("p", "my-bad-app")
        mm.wait_for(lambda: world.rows("SELECT 1 FROM ledger WHERE topic = %s", topic), 30)
        good = world.endpoint(project, name="good", function_name="good")["uid"]
        bad = {mode: world.endpoint(project, name=mode, function_name=mode)["uid"] for mode in MODES}
        for k, (mode, uid) in enumerate(bad.items()):
            world.produce(topic, window(uid, "my-bad-app"), window(good, "my-bad-app", revision=k + 1), key="one")

            def told():
                assert app.child.poll() is None
                found = answers(world)
                return [d for e, n, d in found if e == uid and n == "app_failed"] and \
                    sum(e == good and n == "missing" for e, n, d in found) >= k + 1
            mm.wait_for(told, 60, f"{mode} is told, and the window behind it is served")
        letters = lambda: {d["error"] for d in world.rows("SELECT error FROM dead_letters WHERE pipeline = 'app:my-bad-app'")}
        mm.wait_for(lambda: len(letters()) >= 4, 30, "each is a dead letter, committed after its answer")
        dead = letters()
        assert len(dead) == 4 and any("it crashed: signal 11" in d for d in dead) and any("did not come back within 2 s" in d for d in dead)
        assert len(app.events("restart")) == 2, "a crash and a hang"
        failed = [d for e, n, d in answers(world) if n == "app_failed"]
        assert {json.loads(d["result_extra_data"])["reason"] for d in failed} == {"app_failed"}
        assert all(d["result_status"] == 1 and d["result_kind"] == 4 for d in failed)
        other.wait_ready()  # another app goes on meanwhile
        world.produce(world.topic("p", "my-app"), window(good, "my-app"))
        mm.wait_for(lambda: any(n == "rows" for e, n, d in answers(world)))
