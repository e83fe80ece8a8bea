"""The verbs that ask a running modelmon: a file replayed, a reference given, what is found."""
import os
import re
import subprocess

import numpy
import pandas

import mm
import test_modelmon_run as running

MODELMON = os.path.join(mm.BIN, "modelmon")


def tool(*args, **env):
    return subprocess.run([MODELMON, *map(str, args)], env={"PATH": os.environ["PATH"], "TERM": "dumb", **env}, timeout=60,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def rows(n, shift=0.0, seed=3):
    r = numpy.random.default_rng(seed)
    return pandas.DataFrame({"age": r.normal(40 + shift, 5, n), "city": r.choice(["Rome", "Oslo"], n), "price": r.normal(9, 1, n)})


def test_a_file_replayed_is_compared_with_the_reference_of_another(tmp_path):
    rows(2000).to_csv(tmp_path / "train.csv", index=False)
    rows(300, shift=500).to_parquet(tmp_path / "today.parquet")
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        api = {"API_URL": m.url("")}
        running.call(m, "PUT", "shop", {"metadata": {"name": "shop"},
                                        "spec": {"monitoring": {"base_period": "2s", "enabled": True}}})
        done = tool("replay", tmp_path / "today.parquet", "--to", m.url("/shop"), "--model", "price", "--outputs", "price")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("300 events accepted, 0 rejected")
        first = mm.wait_for(lambda: (lambda t: t if "no_reference" in t else None)(
            tool("results", "shop/price", **api).stdout), 40, "a first result")
        assert "modelmon reference shop/price --csv FILE" in first
        done = tool("reference", "shop/price", "--csv", tmp_path / "train.csv", "--labels", "price", **api)
        assert done.returncode == 0 and "version 1: 3 columns of 2000 rows" in done.stdout, done.stderr
        history = tool("reference", "shop/price", "--history", **api)
        assert history.returncode == 0 and history.stdout.count("\n") == 2 and "api_statistics" in history.stdout, history.stdout
        listed = tool("endpoints", "shop", **api)
        assert listed.returncode == 0 and listed.stdout.count("\n") == 2 and "price" in listed.stdout
        again = tool("replay", tmp_path / "today.parquet", "--to", m.url("/shop"), "--model", "price", "--outputs", "price",
                     "--speed", "1000")
        assert again.returncode == 0
        mm.wait_for(lambda: "possible drift  1 of 2 features drifts: age 1.00" in tool("results", "shop/price", **api).stdout, 40, "drift")
        shown = tool("results", "shop/price", "--name", "typo", **api).stdout
        assert "no typo of histogram-data-drift" in shown and "--app histogram-data-drift --name general_drift" in shown, shown
        assert tool("results", "shop/price", **api).stdout.startswith("window until ")
        assert re.search(r"T\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00) ", tool("endpoints", "shop", **api).stdout)
        assert tool("dead-letters", "list", **api).stdout == "none\n"
        few, all_of = tool("ledger", "show", **api).stdout, tool("ledger", "show", "--all", **api).stdout
        assert "_shop_v1 " in few and "--all" in few and len(all_of.splitlines()) > len(few.splitlines())
        (tmp_path / "events.ndjson").write_text('{"model":"price","columns":["age","city"],"data":[[1,"Rome"]],"outputs":[[2]]}\n'
                                                '{"model":"price"}\n')
        mixed = tool("replay", tmp_path / "events.ndjson", "--to", m.url("/shop"))
        assert mixed.returncode == 1 and mixed.stdout.startswith("1 events accepted, 1 rejected") and mixed.stderr
        status = tool("status", DATA_DIR=os.path.join(w.folder, "data"), **api)
        assert status.returncode == 0 and "statistics" in status.stdout and status.stdout.rstrip().endswith("ok"), status.stdout
        assert tool("status", **api).returncode == 0  # /readyz alone


def test_a_project_is_made_and_changed_by_its_verb(tmp_path):
    rows(50).to_csv(tmp_path / "train.csv", index=False)
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        api = {"API_URL": m.url("")}
        assert tool("project", "shop", **api).stdout == "project shop made: a window every 10m\n"
        assert m.get("/api/v1/projects/shop").json()["spec"]["monitoring"]["enabled"] is True
        assert tool("project", "shop", "--base-period", "10s", **api).stdout == "project shop is there: a window every 10s\n"
        assert tool("project", "shop", **api).stdout.endswith(" 10s\n")
        wrong = tool("project", "shop", "--base-period", "7s", **api)
        assert wrong.returncode == 1 and "6s or 10s would do" in wrong.stderr, wrong
        nobody = tool("reference", "shop/price", "--csv", tmp_path / "train.csv", **api)
        assert nobody.returncode == 1 and "no endpoint price in project shop" in nobody.stderr and "--create" in nobody.stderr


def test_what_is_not_there_is_said():
    nobody = tool("status", API_URL="http://127.0.0.1:1")
    assert nobody.returncode == 1 and "modelmon run" in nobody.stderr
    assert tool("endpoints", "shop", "--api-url=http://127.0.0.1:1").returncode == 1
    assert tool("results", "shop", API_URL="http://127.0.0.1:1").returncode == 1
    assert tool("reference", "shop/price").returncode == 2
    assert tool("replay", "/nowhere.csv").returncode == 1


def test_help_and_completion_come_from_the_tables():
    verbs = [line.split()[0] for line in tool("--help").stdout.splitlines() if line.startswith("  ") and "VERB" not in line]
    assert {"run", "drift", "replay", "reference", "endpoints", "results", "status", "completion"} <= set(verbs)
    script = tool("completion").stdout
    for verb in verbs:
        assert tool(verb, "--help").returncode == 0
        assert f" {verb} " in script
    words = subprocess.run(["bash", "-c", script + "COMP_WORDS=(modelmon drift --re); COMP_CWORD=2; _modelmon; echo ${COMPREPLY[@]};"
                            "COMP_WORDS=(modelmon run --laten); _modelmon; echo ${COMPREPLY[@]}"], text=True, check=True, timeout=20,
                           stdout=subprocess.PIPE, env={"PATH": mm.BIN + ":" + os.environ["PATH"]}).stdout.split()
    assert words == ["--reference", "--lateness="]
    assert tool("nothing").returncode == 2
