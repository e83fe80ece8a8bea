"""The pages: well-formed, escaped, showing what is in the tables, saying what to do when there is nothing."""
import json
import re
import subprocess
import time
import xml.etree.ElementTree as ET

import pytest
from api_server import DAY, SECOND, Api, Rows

MINUTE = 60 * SECOND
EVIL = "<img src=x onerror=alert(1)>\"'&<b>"


@pytest.fixture(scope="module")
def api():
    with Api() as server:
        yield server


def page(api, path, status=200):
    answer = api.get(path)
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    for words in ("default-src 'self'", "script-src 'self'", "object-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert words in policy
    assert "unsafe" not in policy and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    text = answer.text
    assert text.startswith("<!DOCTYPE html>\n<html lang=\"en\">")
    tree = ET.fromstring(text.split("\n", 1)[1])  # every tag is closed, every attribute quoted
    for element in tree.iter():
        assert element.tag not in ("script", "style", "img", "iframe") and "style" not in element.attrib
        assert not any(name.startswith("on") for name in element.attrib)
        for name in ("href", "src"):
            assert element.attrib.get(name, "/").startswith(("/", "?"))
    return tree


def words(tree):
    return re.sub(r"\s+", " ", " ".join(tree.itertext()))


def all_of(tree, tag, css=None):
    return [e for e in tree.iter(tag) if css is None or css in e.attrib.get("class", "").split()]


def now_minute():
    return int(time.time()) * SECOND // MINUTE * MINUTE


def test_without_projects_it_says_how_to_make_one():
    with Api() as empty:
        text = words(page(empty, "/"))
        assert "No project yet" in text and "curl -X PUT" in text


def test_people_who_type_an_address_are_led(api):
    answer = api.get("/ui")
    assert answer.status == 303 and answer.headers["Location"] == "/"
    lost = api.request("GET", "/nowhere", headers={"Accept": "text/html,application/xhtml+xml"})
    assert lost.status == 404 and lost.headers["Content-Type"] == "text/html; charset=utf-8" and '<a href="/">' in lost.text
    assert api.get("/nowhere").headers["Content-Type"] == "application/problem+json"


def test_a_project_without_endpoints_says_what_comes_next(api):
    name = api.project(base_period="30s")
    text = words(page(api, f"/ui/p/{name}"))
    assert "No endpoint yet" in text and "30 s" in text
    assert name in words(page(api, "/"))


def test_endpoints_with_their_drift(api):
    name = api.project(base_period="1m")
    end = now_minute()
    for endpoint, value, status in (("calm", 0.1, 0), ("wary", 0.55, 1), ("gone", 0.9, 2)):
        rows = Rows(api, name, api.endpoint(name, endpoint)["metadata"]["uid"])
        rows.result(end - MINUTE, 0.99, 2)  # not the newest
        rows.result(end, value, status)
        rows.slot(end - MINUTE, requests=5, rows=5, errors=1)
    quiet = api.endpoint(name, "quiet")["metadata"]["uid"]
    tree = page(api, f"/ui/p/{name}")
    rows = {row.find(".//a").findtext("bdi"): row for row in all_of(tree, "tr") if row.find(".//a") is not None}
    assert set(rows) == {"calm", "wary", "gone", "quiet"}
    for endpoint, css, shown in (("calm", "ok", "0.100"), ("wary", "potential", "0.550"), ("gone", "detected", "0.900")):
        assert len(all_of(rows[endpoint], "span", css)) == 1 and shown in words(rows[endpoint])
        assert len(all_of(rows[endpoint], "line", "threshold")) == 2 and len(all_of(rows[endpoint], "rect", "fill")) == 1
    assert "no reference" in words(rows["quiet"]) and "never" in words(rows["quiet"])
    assert rows["quiet"].find(".//a").attrib["href"] == f"/ui/p/{name}/endpoints/{quiet}"
    text = words(tree)
    assert re.search(r"Requests 15 ", text) and re.search(r"Errors 3 ", text) and re.search(r" Drift 1 ", text)
    home = [row for row in all_of(page(api, "/"), "tr") if name in words(row)][0]
    assert len(all_of(home, "span", "detected")) == 1


def test_what_a_mean_hides_is_named_on_every_page(api):
    name = api.project(base_period="1m")
    rows = Rows(api, name, api.endpoint(name, "wide")["metadata"]["uid"])
    worst = {"worst": {"compared": 7, "potential": 1, "detected": 0, "drift": 0.57, "feature": "a<g>e"}, "features": {}}
    rows.result(now_minute() - MINUTE, 0.9, 2, extra=json.dumps({"worst": dict(worst["worst"], feature="old")}))
    rows.result(now_minute(), 0.12, 0, extra=json.dumps(worst))
    for path in (f"/ui/p/{name}", "/"):
        row = [r for r in all_of(page(api, path), "tr") if name in words(r) or "wide" in words(r)][0]
        assert "1 of 7 features drifts possibly: a<g>e 0.57" in words(row) and "no drift" in words(row), path


def filled(api, features):
    """An endpoint with a reference, five windows, and measures of its newest one."""
    project = api.project(base_period="1m")
    uid = api.endpoint(project, "model", spec={"model_class": "M"})["metadata"]["uid"]
    base = f"/api/v1/projects/{project}/model-endpoints/{uid}"
    assert api.put(base + "/reference", {"columns": {f: [float(i) for i in range(100)] for f in features},
                                         "labels": [features[-1]]}).status == 200
    rows, end = Rows(api, project, uid), now_minute()
    for i, (value, status) in enumerate([(0.1, 0), (0.2, 0), (float("nan"), -1), (0.6, 1), (0.8, 2)]):
        rows.result(end - (4 - i) * MINUTE, value, status, late_us=800_000)
        rows.slot(end - (5 - i) * MINUTE, requests=10 + i, rows=20, latency_us=2500)
    edges = [i * 99 / 20 for i in range(21)]
    rows.statistic(end, "current_stats", {f: {"count": 40, "mean": 12.5, "hist": [[2] * 20, edges]} for f in features})
    rows.statistic(end, "drift_measures", dict({f: {"tvd": 0.3 + 0.5 * i, "hellinger": 0.3 + 0.5 * i, "kld": 1.25}
                                                for i, f in enumerate(features[:2])}, tvd_mean=0.5))
    rows.seen(end - DAY, end)
    return project, uid, rows


def test_the_endpoint_page(api):
    project, uid, _ = filled(api, ["low", "high", "label"])
    tree = page(api, f"/ui/p/{project}/endpoints/{uid}")
    text = words(tree)
    timeline = all_of(tree, "svg", "timeline")
    assert len(timeline) == 1
    dots = [d.attrib["class"] for d in all_of(timeline[0], "circle", "dot")]
    assert dots == ["dot ok", "dot ok", "dot potential", "dot detected"]  # what has no value is a gap, no dot at 0
    assert [e.findtext("title").split(": ")[1] for e in all_of(timeline[0], "rect", "gap")] == ["no verdict"]
    assert len(all_of(timeline[0], "line", "threshold")) == 2 and "drift 0.7" in text and "possible 0.5" in text
    heights = [float(d.attrib["cy"]) for d in all_of(timeline[0], "circle", "dot")]
    assert heights[3] < heights[2] < heights[1] < heights[0]  # more drift is higher
    assert all_of(timeline[0], "path", "line")[0].attrib["d"].count("M") == 2  # a gap where there is no value
    assert len(all_of(all_of(tree, "svg", "columns")[0], "rect")) == 5
    features = [row for row in all_of(tree, "tr") if row.find("th/bdi") is not None]
    assert [row.findtext("th/bdi") for row in features] == ["high", "low", "label"]  # strongest first
    assert [len(all_of(row, "svg", "hist")) for row in features] == [1, 1, 1]
    assert [all_of(row, "span", "badge")[0].attrib["class"] for row in features] == \
        ["badge detected", "badge ok", "badge none"]
    assert "0.800" in words(features[0]) and "1.250" in words(features[0]) and "output" in words(features[2])
    assert "800 ms" in text and "from window end to result" in text and "2 ms" in text  # freshness, latency
    assert "The same as a table" in text and len(all_of(tree.find(".//details"), "tr")) == 6
    assert "Reference version 1" in text


def test_thresholds_and_reasons_come_from_the_result(api):
    project, uid, rows = filled(api, ["a", "b", "y"])
    rows.result(now_minute() + MINUTE, float("nan"), -1, extra='{"reason":"insufficient_samples","samples":7,"min_samples":30,'
                '"potential":0.25,"detected":0.4,"features":{"y":{"outcome":"all_missing"}}}')
    rows.api.sql("DELETE FROM app_statistics WHERE endpoint_id = %s", rows.endpoint_id)
    text = words(page(api, f"/ui/p/{project}/endpoints/{uid}"))
    assert "too few rows: 7 of 30" in text and "drift 0.4" in text and "possible 0.25" in text and "all missing" in text


@pytest.mark.parametrize("extra", ["", "[]", "{", '{"reason": 5, "potential": "x", "features": []}', '{"potential": 2, "detected": 1}'])
def test_extra_data_of_any_kind_is_borne(api, extra):
    project, uid, rows = filled(api, ["a", "b", "y"])
    rows.result(now_minute() + MINUTE, 0.9, 2, extra=extra)
    assert "drift 0.7" in words(page(api, f"/ui/p/{project}/endpoints/{uid}"))


@pytest.mark.parametrize("stats", [[], 5, {"a": 5}, {"a": {"hist": 7}}, {"a": {"hist": [[1], [2]]}}, {"a": {"hist": [["x"] * 20, []]}},
                                   {"a": {"hist": [[-1] * 20, []]}}, {"a": {"categories": []}}, {"a": None}])
def test_statistics_of_any_kind_are_borne(api, stats):
    project, uid, rows = filled(api, ["a", "b", "y"])
    for name in ("current_stats", "drift_measures"):
        rows.statistic(now_minute() + MINUTE, name, stats)
    assert "nothing to compare" in words(page(api, f"/ui/p/{project}/endpoints/{uid}"))


def test_hostile_names_are_shown_and_do_nothing(api):
    project = api.project()
    made = api.endpoint(project, EVIL, spec={"function_name": EVIL, "model_class": EVIL, "model_uri": EVIL,
                                             "feature_names": [EVIL, "x"]}, metadata={"labels": {EVIL: EVIL}})
    uid = made["metadata"]["uid"]
    rows = Rows(api, project, uid)
    where = f"/api/v1/projects/{project}/model-endpoints/{uid}/reference"
    assert api.put(where, {"columns": {EVIL: [1, 2, 3], "x": ["</td>", EVIL, None]}}).status == 200
    rows.result(now_minute(), 0.5, 1, extra='{"reason": "<script>"}')
    rows.result(now_minute() + MINUTE, 0.5, -1, extra='{"reason": "<script>alert(1)</script>"}')
    for path in ("/", f"/ui/p/{project}", f"/ui/p/{project}/endpoints/{uid}"):
        tree = page(api, path)
        if path != "/":
            assert EVIL in [e.text for e in tree.iter("bdi")]
    assert "<script>alert(1)</script>" in words(page(api, f"/ui/p/{project}/endpoints/{uid}"))


def test_empty_states_say_which(api):
    project = api.project(base_period="1m")
    uid = api.endpoint(project)["metadata"]["uid"]
    path = f"/ui/p/{project}/endpoints/{uid}"
    text = words(page(api, path))
    assert "No reference yet" in text and f"/api/v1/projects/{project}/model-endpoints/{uid}/reference" in text
    api.put(f"/api/v1/projects/{project}/model-endpoints/{uid}/reference", {"columns": {"a": [1, 2]}})
    assert "No request yet" in words(page(api, path))
    Rows(api, project, uid).seen(1, now_minute())
    assert "No window has closed yet" in words(page(api, path))
    api.project(project, default_app=False)
    assert "The default app is off" in words(page(api, path))
    api.project(project, enabled=False)
    assert "Monitoring is off" in words(page(api, path))


def test_a_disabled_endpoint_says_how_to_enable_it(api):
    project = api.project(base_period="1m")
    uid = api.endpoint(project, "o'ff", status={"monitoring_mode": "disabled"})["metadata"]["uid"]
    text = words(page(api, f"/ui/p/{project}/endpoints/{uid}"))
    assert "Monitoring is disabled for this endpoint" in text and "monitoring disabled" in text
    body = json.loads(re.search(r"(\{\"metadata.*?enabled\"\}\})", text).group(1))
    url = re.search(r"curl -X PATCH '(http\S+)'", text).group(1)
    assert url.startswith(f"http://127.0.0.1:{api.port}/api/v1/projects/{project}/model-endpoints?")
    assert api.patch(url.split(str(api.port), 1)[1], body).status == 200
    assert "disabled" not in words(page(api, f"/ui/p/{project}/endpoints/{uid}"))


def test_the_list_says_what_is_missing(api):
    project, end = api.project(base_period="1m"), now_minute()
    extras = {"few": '{"reason":"insufficient_samples","samples":3}', "type": '{"samples":9,"features":{"a":{"outcome":"wrong_type"}}}',
              "good": '{"samples":9,"features":{"a\\",\\"outcome\\":\\"wrong_type\\"":{"outcome":"ok"}}}'}
    for name, extra in extras.items():
        uid = api.endpoint(project, name)["metadata"]["uid"]
        api.put(f"/api/v1/projects/{project}/model-endpoints/{uid}/reference", {"columns": {"a": [1, 2]}})
        rows = Rows(api, project, uid)
        rows.result(end, 0.1 if name == "good" else float("nan"), 0 if name == "good" else -1, extra=extra)
        rows.seen(end - DAY, end)
    api.endpoint(project, "off", status={"monitoring_mode": "disabled"})
    tree = page(api, f"/ui/p/{project}")
    tags = {row.find(".//a").findtext("bdi"): [e.text for e in all_of(row, "span", "tag")]
            for row in all_of(tree, "tr") if row.find(".//a") is not None}
    assert tags == {"few": ["too few rows"], "type": ["wrong type"], "good": [],
                    "off": ["disabled", "no reference", "nothing received"]}
    assert "no drift, 3 without verdict" in words(tree)
    assert "no drift, 3 without verdict" in words([r for r in all_of(page(api, "/"), "tr") if project in words(r)][0])


def test_what_is_not_compared_is_in_words(api):
    project, end = api.project(base_period="1m"), now_minute()
    uid = api.endpoint(project, "m", spec={"feature_names": ["a", "b", "c", "extra <b>"]})["metadata"]["uid"]
    api.put(f"/api/v1/projects/{project}/model-endpoints/{uid}/reference",
            {"columns": {"a": [1, 2], "b": [1, 2], "c": [1, 2], "d": ["x", "y"]}})
    api.sql("UPDATE endpoint_schemas SET document = replace(document, '\"name\":\"b\",\"type\":\"unknown\"', "
            "'\"name\":\"b\",\"type\":\"string\"') WHERE endpoint_id = (SELECT id FROM endpoints WHERE uid = %s)", uid)
    rows = Rows(api, project, uid)
    rows.result(end, 0.9, 2, extra=json.dumps({"samples": 300, "features": {
        "a": {"outcome": "ok"}, "b": {"outcome": "wrong_type", "wrong_type": 300}, "c": {"outcome": "all_missing", "missing": 300},
        "d": {"outcome": "missing_column"}}}))
    rows.statistic(end, "drift_measures", {"a": {"tvd": 0.9, "hellinger": 0.9, "kld": 1.0}})
    tree = page(api, f"/ui/p/{project}/endpoints/{uid}")
    features = {row.findtext("th/bdi"): words(row) for row in all_of(tree, "tr") if row.find("th/bdi") is not None}
    assert "text, numbers were expected (300 of 300)" in features["b"]
    assert "all missing (300 of 300)" in features["c"] and "not in the events" in features["d"]
    assert not any("–" in features[name] for name in "bcd"), features
    text = words(tree)
    assert "1 of 4 features compared" in text and "1 feature drifts, 1 has no values, 2 are not compared" in text
    assert "In the events, but not in the reference: extra" in text


def test_short_latencies_are_in_microseconds(api):
    project = api.project(base_period="1m")
    uid = api.endpoint(project)["metadata"]["uid"]
    Rows(api, project, uid).slot(now_minute() - MINUTE, requests=3, rows=3, latency_us=170)
    assert re.search(r"Latency 1[67]\d µs", words(page(api, f"/ui/p/{project}/endpoints/{uid}")))


def refuse(api, project, offset, payload, pipeline="statistics", age_s=60, words="the request <b> has no rows"):
    api.sql("CREATE TABLE IF NOT EXISTS dead_letters_rest PARTITION OF dead_letters DEFAULT")
    api.sql("INSERT INTO dead_letters (pipeline, topic, partition, \"offset\", at_us, project_id, reason, field, error, payload, size)"
            " SELECT %s, 't', 0, %s, %s, id, 'missing_inputs', 'request.inputs', %s, %s, 9 FROM projects WHERE name = %s", pipeline,
            offset, int((time.time() - age_s) * SECOND), words, payload, project)


def test_refused_events_are_shown(api):
    project = api.project(base_period="1m")
    uid, other = (api.endpoint(project, name)["metadata"]["uid"] for name in ("one", "other"))
    assert "Refused" not in words(page(api, f"/ui/p/{project}"))
    refuse(api, project, 1, json.dumps({"endpoint_id": uid}).encode())
    refuse(api, project, 2, b"\xff\x00 not JSON", age_s=30, words="this is not JSON")
    refuse(api, project, 2, b"\xff\x00 not JSON", pipeline="lake", age_s=30, words="this is not JSON")
    refuse(api, project, 3, b"{}", age_s=90000)
    text = words(page(api, f"/ui/p/{project}"))
    assert "Refused in 24 h: 2 events" in text and "Last reason: this is not JSON" in text
    text = words(page(api, f"/ui/p/{project}/endpoints/{uid}"))
    assert "Refused in 24 h: 1 event" in text and "the request <b> has no rows ( request.inputs )" in text
    assert "Refused" not in words(page(api, f"/ui/p/{project}/endpoints/{other}"))


def test_the_sample_event_is_one_that_works(api):
    name = api.project()
    sample = re.search(r"curl (\S+) -d '(.*)'", words(page(api, f"/ui/p/{name}"))).groups()
    assert sample[0] == f"http://127.0.0.1:8080/{name}"
    event = json.loads(subprocess.run(["bash", "-c", f"echo '{sample[1]}'"], stdout=subprocess.PIPE, check=True).stdout)
    assert event["function_uri"].startswith(name + "/") and len(event["request"]["inputs"]) == len(event["resp"]["outputs"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["when"]) and event["resp"]["id"].isdigit()


def test_pages_that_are_not_there(api):
    name = api.project()
    for path, status in (("/ui/p/nobody", 404), ("/ui/p/UPPER", 400), (f"/ui/p/{name}/endpoints/nothing", 404),
                         (f"/ui/p/{name}/endpoints/%3Cscript%3E", 400), ("/ui/p/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 400),
                         ("/ui/assets/nothing.css", 404), (f"/ui/p/{name}?after=x", 400)):
        assert str(status) in words(page(api, path, status))


def test_assets(api):
    style = api.get("/ui/assets/style.css")
    assert style.status == 200 and style.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "prefers-color-scheme: dark" in style.text and style.headers["X-Content-Type-Options"] == "nosniff"
    icon = api.get("/ui/assets/icon.svg")
    assert icon.headers["Content-Type"] == "image/svg+xml" and ET.fromstring(icon.text) is not None
    classes = set(re.findall(r"\.([a-z-]+)", style.text))
    project, uid, _ = filled(api, ["low", "high", "label"])
    used = {c for e in page(api, f"/ui/p/{project}/endpoints/{uid}").iter() for c in e.attrib.get("class", "").split()}
    assert used <= classes, used - classes


def test_the_page_renews_itself_unless_told_not_to(api):
    project, uid, _ = filled(api, ["a", "b", "y"])
    path = f"/ui/p/{project}/endpoints/{uid}"
    assert [m for m in page(api, path).iter("meta") if m.attrib.get("http-equiv") == "refresh"]
    assert not [m for m in page(api, path + "?refresh=0").iter("meta") if m.attrib.get("http-equiv") == "refresh"]


def test_two_hundred_endpoints_a_page(api):
    project = api.project()
    api.endpoint(project, "first")
    api.sql("INSERT INTO endpoints (project_id, uid, name, created_us, updated_us) SELECT id, 'u' || n, 'e' || n, 1, 1 "
            "FROM projects, generate_series(1, 250) n WHERE projects.name = %s", project)
    tree = page(api, f"/ui/p/{project}")
    assert len([r for r in all_of(tree, "tr") if r.find(".//a") is not None]) == 200
    link = [a for a in tree.iter("a") if "after=" in a.attrib["href"]][0]
    rest = page(api, link.attrib["href"])
    assert len([r for r in all_of(rest, "tr") if r.find(".//a") is not None]) == 51


def test_both_numbers_on_top_are_of_one_window(api):
    name = api.project(base_period="1m")
    uid = api.endpoint(name, "m")["metadata"]["uid"]
    rows = Rows(api, name, uid)
    end = now_minute()
    rows.result(end - MINUTE, 0.2, 0)
    rows.result(end - MINUTE, 0.81, 2, name="prediction_drift")
    url = f"/ui/p/{name}/endpoints/{uid}"
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime((end - MINUTE) // SECOND))
    text = words(page(api, url))
    assert f"0.810 drift detected, until {until}" in text and f"0.200 no drift, until {until}" in text, text
    rows.result(end, 0.3, 0)  # a window without a number of the outputs
    text = words(page(api, url))
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(end // SECOND))
    assert f"Drift of the outputs – not compared, until {until}" in text and "0.810" not in text, text
