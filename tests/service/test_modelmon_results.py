"""modelmon results and the page beside it: what was not compared, and why, is not hidden by a mean."""
import contextlib
import re
import time

import numpy
import pandas
import requests

import mm
import test_modelmon_run as running
from test_modelmon_tool import tool


def some(n=300, seed=1):
    r = numpy.random.default_rng(seed)
    return pandas.DataFrame({"age": r.normal(40, 5, n), "area": r.normal(90, 9, n), "city": r.choice(["Rome", "Oslo"], n),
                             "on": r.integers(0, 9, n), "price": r.normal(9, 1, n)})


@contextlib.contextmanager
def shop(reference, tmp_path):
    """A project of short windows with an endpoint shop/price; its reference is of these rows."""
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        m.api = {"API_URL": m.url("")}
        assert tool("project", "shop", "--base-period", "2s", **m.api).returncode == 0
        reference.to_csv(tmp_path / "train.csv", index=False)
        done = tool("reference", "shop/price", "--csv", tmp_path / "train.csv", "--labels", "price", "--create", **m.api)
        assert done.returncode == 0, done.stderr
        yield m


def replay(m, data, tmp_path):
    data.to_parquet(tmp_path / "now.parquet")
    done = tool("replay", tmp_path / "now.parquet", "--to", m.url("/shop"), "--model", "price", "--outputs", "price")
    assert done.returncode == 0, done.stderr


def shown(m, words):
    """What results shows, once it has these words."""
    text = ""

    def look():
        nonlocal text
        text = tool("results", "shop/price", **m.api).stdout
        return text if words in text else None
    try:
        return mm.wait_for(look, 40, words)
    except BaseException:
        print(text)
        raise


def page(m):
    uid = running.call(m, "GET", "shop/model-endpoints")["endpoints"][0]["metadata"]["uid"]
    return m.get(f"/ui/p/shop/endpoints/{uid}").text


def test_what_is_not_compared_is_named_and_nothing_is_plainly_green(tmp_path):
    with shop(some(), tmp_path) as m:
        replay(m, some(seed=2), tmp_path)
        assert "not compared" not in shown(m, "no drift")
        assert '<div class="head"><h1><bdi>price</bdi></h1><span class="badge ok">no drift</span>' in page(m)
        replay(m, some(seed=3).assign(area="large", age=numpy.nan).drop(columns="on"), tmp_path)
        text = shown(m, "3 of 4 features are not compared")
        for words in ("area (wrong type)", "age (all missing)", "on (all missing)"):
            assert words in text, text
        assert '</h1><span class="badge none">no drift in what is compared</span>' in page(m)
        assert '<span class="badge none">no drift in what is compared</span>' in m.get("/ui/p/shop").text


def test_values_that_are_missing_more_often_are_told(tmp_path):
    train, now = some(), some(seed=2)
    train.loc[::50, "age"] = numpy.nan
    now.loc[now.index % 20 > 2, "age"] = numpy.nan
    with shop(train, tmp_path) as m:
        replay(m, now, tmp_path)
        assert "age: missing 2 % → 85 %" in shown(m, "no drift")
        assert '<span class="tag">missing 2 % → 85 %</span>' in page(m)


def test_events_without_names_and_a_reference_with_some_is_said_what_to_do(tmp_path):
    some().drop(columns=["city"]).to_csv(tmp_path / "train.csv", index=False)
    with mm.World() as w, running.start(w, embedded=True) as m:
        m.wait_ready(60)
        m.api = {"API_URL": m.url("")}
        assert tool("project", "shop", "--base-period", "2s", **m.api).returncode == 0
        assert "modelmon project" in requests.post(m.url("/nowhere"), json={"model": "m", "inputs": [[1]], "outputs": [1]}, timeout=20).text
        assert "`modelmon project nowhere` makes it" in tool("endpoints", "nowhere", **m.api).stderr
        rows = some(40, seed=2)[["age", "area", "on"]].values.tolist()
        event = {"model": "price", "inputs": rows, "outputs": [1.5] * len(rows)}
        mm.wait_for(lambda: requests.post(m.url("/shop"), json=event, timeout=20).status_code == 202, 20)
        shown(m, "no_reference")
        done = tool("reference", "shop/price", "--csv", tmp_path / "train.csv", "--labels", "price", **m.api)
        assert done.returncode == 0 and 'send "columns"' in done.stdout, done
        assert 'send "columns"' in shown(m, "no_comparable_feature")
        event["columns"] = ["age", "area", "on"]
        requests.post(m.url("/shop"), json=event, timeout=20).raise_for_status()

        def last():
            return [line for line in tool("results", "shop/price", **m.api).stdout.splitlines() if line.startswith("20")][-1]
        mm.wait_for(lambda: "no_comparable_feature" not in last(), 40)


def test_metrics_and_results_of_other_apps_are_found_and_worded(tmp_path):
    with shop(some(), tmp_path) as m:
        assert "no request yet" in tool("results", "shop/price", **m.api).stdout
        replay(m, some(seed=2), tmp_path)
        shown(m, "no drift")
        mm.wait_for(lambda: tool("results", "shop/price", "--app", "operations", "--name", "throughput", **m.api).stdout.count("\n") > 1, 40)
        metric = tool("results", "shop/price", "--app", "operations", "--name", "throughput", **m.api).stdout
        assert metric.startswith("window until") and "drift" not in metric and "verdict" not in metric, metric
        calls = tool("results", "shop/price", "--app", "mlrun-infra", "--name", "invocations", **m.api).stdout
        assert calls.startswith("ten minutes from") and re.search(r"T\d\d:\d0:00", calls), calls
        errors = tool("results", "shop/price", "--app", "operations", "--name", "error_rate", **m.api).stdout
        assert "fine" in errors and "drift" not in errors, errors
        listed = tool("endpoints", "shop", **m.api).stdout
        assert "worst result of 24 h" in listed and "drift" not in listed, listed


def test_what_others_have_named_is_not_for_the_terminal_to_obey(tmp_path):
    """A name out of a file, and values that no longer come; and as far back as is allowed is answered."""
    train = some().replace({"city": {"Oslo": "Os\x7flo"}}).rename(columns={"city": "ci\x1bty"})
    with shop(train, tmp_path) as m:
        replay(m, train.assign(**{"ci\x1bty": "Rome"}), tmp_path)
        text = shown(m, "ci?ty: vanished [\"Os\\u007flo\"]")
        assert not {"\x1b", "\x7f"} & set(text), text
        assert tool("results", "shop/price", "--since", "399d", **m.api).returncode == 0


def test_an_open_window_says_when_it_closes(tmp_path):
    with shop(some(), tmp_path) as m:
        assert tool("project", "shop", "--base-period", "1h", **m.api).returncode == 0
        hour = time.time() // 3600 * 3600 + 3600
        replay(m, some(seed=2), tmp_path)
        until = [time.strftime("is open until %Y-%m-%dT%H:00:00Z", time.gmtime(hour + 3600 * k)) for k in (0, 1)]
        mm.wait_for(lambda: any(u in tool("results", "shop/price", **m.api).stdout for u in until), 30)
