"""Every shape of inference event, by Kafka and by HTTP: the same slots, the same Parquet rows, the same refusals.

Captured events are what MLRun 1.12.1 sent or was given (tests/vectors). Where it keeps rows, ours hold the same values; where it
loses something in silence (a surplus output, an unnamed value, a poisoned batch, an event without a time) ours is right, or a
dead letter that says why.
"""
import copy
import json
import math
import os
import uuid

import pytest

import mm
import serving

VECTORS = os.path.join(mm.ROOT, "tests/vectors")
WHEN = 1_735_689_601_123_456  # 2025-01-01 00:00:01.123456, that of the captures
BY_KAFKA, BY_HTTP = "by-kafka", "by-http"


def load(name):
    with open(os.path.join(VECTORS, name)) as f:
        return json.load(f)


class Case:
    """Events of one endpoint, and what must become of them."""

    def __init__(self, name, events, rows=(), dead=(), errors=0, names=None, http_dead=None, requests=None):
        self.name, self.events, self.rows, self.dead, self.errors, self.names = name, events, list(rows), list(dead), errors, names
        self.http_dead = self.dead if http_dead is None else http_dead  # of these an HTTP sender is told at once
        self.requests = requests
        self.uid = uuid.uuid5(uuid.NAMESPACE_DNS, name).hex
        self.known_ids = {}

    def for_project(self, project):
        """Its events as raw records for that project."""
        return [self.raw(e, project) for e in self.events]

    def raw(self, event, project):
        if isinstance(event, (str, bytes)):
            return (event if isinstance(event, str) else event.decode()).replace("@PROJECT", project).replace("@UID", self.uid)
        made = copy.deepcopy(event)
        for key in ("endpoint_id", "model_endpoint_uid"):
            if made.get(key):
                made[key] = self.uid + self.known_ids.setdefault(made[key], "" if not self.known_ids else
                                                                 f"-{len(self.known_ids) + 1}")
        if made.get("function_uri"):
            made["function_uri"] = project + "/" + made["function_uri"].partition("/")[2]
        if made.get("project"):
            made["project"] = project
        return json.dumps(made)


def row(cols, rid="r1", latency=7100, n=1, estimated=None, labels=None, metrics=None, when=WHEN):
    return {"cols": cols, "request_id": rid, "latency": latency, "n": n, "estimated": float(n if estimated is None else estimated),
            "labels": labels, "metrics": metrics, "when": when}


def captured_rows(vector):
    """What MLRun wrote, with the shares of each row instead of the request's total on every row."""
    found = [r for f in vector["parquet"] for r in f["rows"]]
    out = []
    for r in found:
        keys = list(r)
        names = keys[keys.index("label_names") + 1:keys.index("endpoint_type")]
        rows = sum(o["request_id"] == r["request_id"] and o["timestamp"] == r["timestamp"] for o in found)
        when = serving.us_of(serving.datetime.datetime.fromisoformat(r["timestamp"]))
        out.append(row({n: r[n] for n in names}, r["request_id"], r["latency"], r["effective_sample_count"] // rows,
                       r["estimated_prediction_count"] / rows, r["labels"], r["metrics"], when))
    return out


def names_of(vector):
    """Names of columns that the endpoint's record had: all but made-up ones."""
    rows = [r for f in vector["parquet"] for r in f["rows"]]
    if not rows:
        return None
    keys = list(rows[0])
    cols = keys[keys.index("label_names") + 1:keys.index("endpoint_type")]
    if cols[0] == "f0":
        return None
    n_labels = sum(c in ("y", "prob") for c in cols)
    return cols[:-n_labels], cols[-n_labels:]


def graph_cases():
    lost = {"mismatch_out": ["row_count_mismatch"], "no_when": ["missing_when"], "no_id": ["missing_id"],
            "no_outputs": ["missing_outputs"], "http_bad": ["missing_field"]}
    for name, v in load("stream_graph.json").items():
        if name == "mixed_types":  # its whole batch was lost there: a 0-byte file
            poison = [serving.event("x", [["x", 1.5]], [1], WHEN, "r1", effective_sample_count=1, microsec=7100),
                      serving.event("x", [[2.5, 2]], [2], WHEN + 1, "r2", effective_sample_count=1, microsec=7100)]
            yield Case("graph_mixed_types", poison, [row({"a": "x", "b": 1.5, "y": 1.0}, "r1"),
                                                     row({"a": None, "b": 2.0, "y": 2.0}, "r2", when=WHEN + 1)],
                       names=(["a", "b"], ["y"]))
        elif name in lost:
            yield Case("graph_" + name, v["input"], dead=lost[name])
        elif name == "more_features_than_names":
            yield Case("graph_" + name, v["input"], dead=["schema_mismatch"], http_dead=[], names=(["a", "b"], ["y"]))
        elif name == "http_ok":
            yield Case("graph_http_ok", [dict(v["input"][0], timestamp=mm.mlrun_time(WHEN), request_id="r1")],
                       [row({"a": 1.0, "b": 3.0, "y": 0.0}, latency=1234), row({"a": 2.0, "b": 4.0, "y": 1.0}, latency=1234)],
                       names=(["a", "b"], ["y"]))
        else:
            yield Case("graph_" + name, v["input"], captured_rows(v), errors=len(v["err"]), names=names_of(v))


def v2_cases():
    """The old server's: 7 of 10 calls made an event."""
    for name, v in load("v2_capture.json").items():
        events = [e for p in v["pushed"] for e in p["data"]]
        rows = []
        for e in events:
            e["when"] = mm.mlrun_time(WHEN)  # the captures' own day may be yet to come
            if "error" in e:
                continue
            outputs, n = e["resp"]["outputs"], len(e["request"]["inputs"])
            for values, out in zip(e["request"]["inputs"], outputs):
                cols = {f"f{i}": float(x) for i, x in enumerate(values)}
                rows.append(row(dict(cols, p0=float(out)), e["resp"]["id"], e["microsec"], 1,
                                100 / e["sampling_percentage"], e.get("labels"), e.get("metrics")))
            assert len(outputs) == n
        if events:
            yield Case("v2_" + name, events, rows, errors=sum("error" in e for e in events))


def runner_cases():
    expected = {
        "list_rows": [{"f0": 1.0, "f1": 2.0, "p0": 0.0}, {"f0": 3.0, "f1": 4.0, "p0": 1.0}],
        "dict_columns": [{"a": 1.0, "b": 2.0, "y": 0.0}, {"a": 3.0, "b": 4.0, "y": 1.0}],
        "dict_scalars": [{"a": 1.0, "b": 2.0, "y": 5.0}],
        "list_of_dicts": [{"a": 1.0, "b": 2.0, "y": 0.0}, {"a": 3.0, "b": 4.0, "y": 1.0}],
        "no_schema_dict": [{"x_y": 1.0, "z": 2.0, "out": 7.0}],
        "metrics_labels": [{"f0": 1.0, "f1": 2.0, "p0": 1.0}],
        "two_models": [{"f0": 1.0, "f1": 2.0, "p0": 1.0}],
        "scalar_prompt": [{"f0": "what?", "p0": "hello"}],
        "error": [],
    }
    for name, events in load("runner.json").items():
        if name == "wrong_keys":
            continue  # it raised in the sender: there is no event
        for e in events:
            e["when"] = mm.mlrun_time(WHEN)
        latency = events[0]["microsec"]
        yield Case("runner_" + name, events, [row(c, "evt-1", latency, labels=events[0]["labels"] or None,
                                                  metrics=events[0]["metrics"]) for c in expected[name]],
                   errors=int(name == "error"))


def own_cases():
    ev, step, ingest = serving.event, serving.step_event, serving.ingest
    one = {"f0": 1.0, "p0": 2.0}
    yield Case("id_is_0", [step("x", [[1]], [2], WHEN, rid=0)], [row(one, "0", 1500)])
    # a batch job's ids count from 0 in every run: only the time tells them apart
    yield Case("ids_repeat_at_other_times", [step("x", [[1]], [2], WHEN + i, rid=0) for i in range(3)],
               [row(one, "0", 1500, when=WHEN + i) for i in range(3)])
    yield Case("same_microsecond_two_requests", [step("x", [[1]], [2], WHEN, rid=r) for r in ("a", "b")],
               [row(one, r, 1500) for r in ("a", "b")])
    yield Case("sent_three_times", [step("x", [[1]], [2], WHEN, rid="same")] * 3, [row(one, "same", 1500)], requests=1)
    yield Case("shares_of_a_sample", [step("x", [[1], [2], [3]], [4, 5, 6], WHEN, sampling_percentage=10,
                                           effective_sample_count=3)],
               [row({"f0": i + 1.0, "p0": i + 4.0}, "0", 1500, estimated=10) for i in range(3)])
    yield Case("labels_and_metrics", [ev("x", [[1]], [2], WHEN, "r1", labels={"env": "prod", "a": {"b": [1, None]}},
                                         metrics={"tokens": 3, "cost": 0.25})],
               [row(one, "r1", 1500, labels={"env": "prod", "a": {"b": [1, None]}}, metrics={"tokens": 3, "cost": 0.25})])
    yield Case("whole_seconds_of_latency", [ev("x", [[1]], [2], WHEN, "r1", latency_us=2500000, microsec=500000)],
               [row(one, "r1", 2500000)])
    yield Case("no_latency", [step("x", [[1]], [2], WHEN, "r1", microsec=None)], [row(one, "r1", None)])
    yield Case("empty_error", [ev("x", [[1]], None, WHEN, "r1", error="", resp=None)], errors=1)
    yield Case("error_with_odd_inputs", [ev("x", "boom", None, WHEN, "r1", error={"code": 7}, resp=None, request=None)], errors=1)
    yield Case("reserved_names", [step("x", [[1, 2, 3, 4]], [5], WHEN, "r1", names=["timestamp", "latency", "day", "ok (x)"],
                                       output_names=["endpoint_id"])],
               [row({"feature_timestamp": 1.0, "feature_latency": 2.0, "feature_day": 3.0, "ok_x": 4.0,
                     "feature_endpoint_id": 5.0}, "r1", 1500)])
    yield Case("not_a_number", [json.dumps(ev("@UID", [[math.nan, math.inf, -math.inf, None, True]], [2], WHEN, "r1", "@PROJECT"))],
               [row({"f0": math.nan, "f1": math.inf, "f2": -math.inf, "f3": None, "f4": 1.0, "p0": 2.0}, "r1", 1500)])
    yield Case("single_flat_row", [ev("x", [1, 2], [3], WHEN, "r1", effective_sample_count=1)],
               [row({"f0": 1.0, "f1": 2.0, "p0": 3.0}, "r1", 1500)])
    yield Case("names_in_another_order", [step("x", [[1, 2]], [3], WHEN, "r1", names=["a", "b"], output_names=["y"]),
                                          step("x", [{"b": 20, "a": 10}], [30], WHEN + 1, "r2")],
               [row({"a": 1.0, "b": 2.0, "y": 3.0}, "r1", 1500), row({"a": 10.0, "b": 20.0, "y": 30.0}, "r2", 1500, when=WHEN + 1)])
    yield Case("time_with_offset", [ev("x", [[1]], [2], WHEN, "r1", when="2025-01-01T02:30:01.123456+02:30")], [row(one, "r1", 1500)])
    yield Case("objects_as_values", [ev("x", [[{"a": [1]}, "t"]], [[{"s": 0.5}]], WHEN, "r1")],
               [row({"f0": '{"a": [1]}', "f1": "t", "p0": '{"s": 0.5}'}, "r1", 1500)])
    yield Case("wide_class_scores", [ev("x", [[1], [2]], [[0.1, 0.9], [0.8, 0.2]], WHEN, "r1")],
               [row({"f0": 1.0, "p0": 0.1, "p1": 0.9}, "r1", 1500), row({"f0": 2.0, "p0": 0.8, "p1": 0.2}, "r1", 1500)])
    yield Case("ingest_columns", [ingest("x", {"b c": [1, 2], "a": [3, 4]}, {"y": [5, 6]}, WHEN, "r1", latency=12.4, labels={"k": "v"},
                                         model_class="C")],
               [row({"b_c": 1.0, "a": 3.0, "y": 5.0}, "r1", 12, labels={"k": "v"}),
                row({"b_c": 2.0, "a": 4.0, "y": 6.0}, "r1", 12, labels={"k": "v"})])
    # refused
    yield Case("ragged", [ev("x", [[1, 2], [3]], [1, 2], WHEN)], dead=["ragged_rows"])
    yield Case("other_keys_in_rows", [ev("x", [{"a": 1}, {"b": 2}], [1, 2], WHEN)], dead=["dict_rows"])
    yield Case("no_rows", [ev("x", [], [], WHEN)], dead=["missing_inputs"])
    yield Case("beyond_a_double", [json.dumps(ev("@UID", [[1]], [2], WHEN, "r1", "@PROJECT")).replace("[[1]]", "[[1e999]]")],
               dead=["bad_value"])
    yield Case("text_for_a_sample_size", [ev("x", [[1]], [2], WHEN, effective_sample_count="2")], dead=["wrong_type"])
    yield Case("no_time_at_all", [ev("x", [[1]], [2], WHEN, when="yesterday")], dead=["bad_time"])
    yield Case("far_future", [ev("x", [[1]], [2], WHEN, when="2100-01-01 00:00:00.000000+00:00")], dead=["future_timestamp"])
    yield Case("before_all_models", [ev("x", [[1]], [2], WHEN, when="1999-01-01 00:00:00.000000+00:00")], dead=["bad_time"])
    yield Case("a_later_version", [ev("x", [[1]], [2], WHEN, schema_version=2, request={"anything": 1})],
               dead=["unsupported_version"])
    yield Case("of_no_kind", [{"kind": "surprise", "endpoint_id": "x", "project": "p"}], dead=["unknown_kind"])
    yield Case("no_endpoint", [{k: v for k, v in ev("x", [[1]], [2], WHEN).items() if k not in ("endpoint_id", "model")}],
               dead=["missing_endpoint"])
    yield Case("names_and_values_differ", [step("x", [[1, 2]], [2], WHEN, names=["a"])], dead=["schema_mismatch"])
    yield Case("cut_off", [json.dumps(ev("@UID", [[1]], [2], WHEN, "r1", "@PROJECT"))[:-20]], dead=["malformed_json"])


CASES = {c.name: c for make in (graph_cases, v2_cases, runner_cases, own_cases) for c in make()}


class Ran:
    """Every case once by Kafka and once by HTTP, in one life of one service."""

    def __init__(self, world, stream):
        self.w, self.stream = world, stream
        self.answers, self.offsets = {}, {}

    def run(self):
        w = self.w
        w.migrated()
        self.ids = {p: w.project(p) for p in (BY_KAFKA, BY_HTTP)}
        for project in self.ids:
            for case in CASES.values():
                if case.names:
                    w.endpoint(self.ids[project], case.uid, name="my-model", model_class="M", function_name=case.name,
                               function_uri=f"{project}/serving")
                    serving.schema(w, case.uid, *case.names, project=project)
        self.stream.wait_ready()
        topic = serving.wait_topic(w, BY_KAFKA)
        serving.wait_topic(w, BY_HTTP)
        for case in CASES.values():
            for raw in case.for_project(BY_KAFKA):
                self.offsets.setdefault(w.produce(topic, raw, key=case.uid)[0], case.name)
        for i, case in enumerate(CASES.values()):
            self.answers[case.name] = self.post(case, case.for_project(BY_HTTP), i)
        serving.wait_handled(w, BY_KAFKA, BY_HTTP)
        return self

    def post(self, case, records, form):
        """In one of the forms that HTTP senders use; without a Content-Type unless one is said."""
        root = "/" if all('"function_uri"' in r or '"project"' in r for r in records) and not case.dead and form % 2 else f"/{BY_HTTP}"
        if case.dead or len(records) == 1 and form % 3 == 0:
            return [self.stream.post(root, r) for r in records]
        if form % 3 == 1:
            return [self.stream.post(root, "[" + ", ".join(records) + "]")]
        return [self.stream.post(root, "\n".join(records) + "\n", {"Content-Type": "application/x-ndjson"} if form % 2 else None)]


@pytest.fixture(scope="module")
def ran():
    with mm.World() as w:
        with w.service("stream", **serving.FAST) as stream:
            yield Ran(w, stream).run()


def same(a, b):
    return (a is None and b is None) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)) or \
        (a == b and type(a) is type(b))


def check_row(ran, got, want, case, project):
    cols = serving.columns_of(got)
    assert list(cols) == list(want["cols"])
    for name, value in want["cols"].items():
        value = float(value) if isinstance(value, int) else value
        assert same(cols[name], value), name
    when = serving.us_of(got["timestamp"])
    assert (got["request_id"], got["latency"], when) == (want["request_id"], want["latency"], want["when"])
    assert got["effective_sample_count"] == want["n"] and got["estimated_prediction_count"] == want["estimated"]
    for key in ("labels", "metrics"):
        assert (json.loads(got[key]) if got[key] else None) == (want[key] or None)
    assert got["last_request"] == mm.mlrun_time(when) and got["last_request_timestamp"] == when / 1e6
    assert got["endpoint_id"] == case.uid and got["endpoint_type"] == 1 and got["entities"] is None
    folder = f"key={case.uid}/" + got["timestamp"].strftime("year=%Y/month=%m/day=%d/hour=%H")
    assert os.path.dirname(got["_path"]) == os.path.join(os.path.dirname(serving.lake_folder(ran.w, project, case.uid)), folder)


@pytest.mark.parametrize("project", [BY_KAFKA, BY_HTTP])
@pytest.mark.parametrize("name", CASES)
def test_becomes(ran, name, project):
    case = CASES[name]
    rows = sorted(serving.lake_rows(ran.w, project, case.uid), key=lambda r: (r["timestamp"], r["request_id"], r["modelmon_row"]))
    assert len(rows) == len(case.rows)
    for got, want in zip(rows, case.rows):
        check_row(ran, got, want, case, project)
    slots = serving.slots(ran.w, case.uid, project)
    assert sum(s["rows"] for s in slots.values()) == len(case.rows)
    assert sum(s["errors"] for s in slots.values()) == case.errors
    requests = case.requests or len({(r["request_id"], r["when"]) for r in case.rows}) + case.errors
    assert sum(s["requests"] for s in slots.values()) == requests
    assert math.isclose(sum(s["estimated"] for s in slots.values()), sum(r["estimated"] for r in case.rows))
    assert {start for start, *_ in slots} <= {WHEN // mm.MINUTE_US * mm.MINUTE_US, (WHEN + mm.HOUR_US) // mm.MINUTE_US * mm.MINUTE_US,
                                              1735693200000000}


@pytest.mark.parametrize("name", CASES)
def test_both_ways_count_the_same(ran, name):
    uid = CASES[name].uid
    both = [{k: serving.counts_without_moments(s) for k, s in serving.slots(ran.w, uid, p).items()} for p in (BY_KAFKA, BY_HTTP)]
    assert both[0] == both[1]
    if CASES[name].rows:
        assert both[0]


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.dead])
def test_refused_over_kafka(ran, name):
    case = CASES[name]
    places = [place for place, who in ran.offsets.items() if who == name]
    letters = [d for d in serving.dead_letters(ran.w, BY_KAFKA) if (d["partition"], d["offset"]) in places]
    assert [d["reason"] for d in letters] == case.dead
    raw = case.for_project(BY_KAFKA)
    for letter, record in zip(letters, raw):
        assert letter["pipeline"] == "statistics" and letter["topic"] == ran.w.topic(BY_KAFKA)
        assert bytes(letter["payload"]).decode() == record and letter["size"] == len(record) and letter["error"]


def test_the_dead_letter_topic_has_each_once(ran):
    topic = ran.w.topic(BY_KAFKA)
    found = {}
    for record in ran.w.consume(topic + ".dlt"):
        place = (int(mm.header(record, "x-partition")), int(mm.header(record, "x-offset")))
        assert place not in found and mm.header(record, "x-topic") == topic and int(mm.header(record, "x-ts")) > 0
        found[place] = record
    assert {p: ran.offsets[p] for p in found} == {p: n for p, n in ran.offsets.items() if CASES[n].dead}
    for place, record in found.items():
        case = CASES[ran.offsets[place]]
        assert mm.header(record, "x-error-code") == case.dead[0] and mm.header(record, "x-error")
        assert record.value.decode() in case.for_project(BY_KAFKA)
    assert ran.stream.metric("modelmon_dead_letters_total", pipeline="statistics") == \
        sum(len(c.dead) for c in CASES.values()) + sum(len(c.dead) - len(c.http_dead) for c in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_what_http_senders_are_told(ran, name):
    case = CASES[name]
    answers = ran.answers[name]
    if not case.http_dead:
        assert [a.status_code for a in answers] == [202] * len(answers)
        return
    for answer, reason in zip(answers, case.http_dead):
        assert 400 <= answer.status_code < 500 and answer.headers["Content-Type"] == "application/problem+json"
        problem = answer.json()
        assert problem["code"] == reason and problem["status"] == answer.status_code
        assert problem["type"] == f"urn:modelmon:problem:{reason}" and problem["detail"] and problem["position"] >= 0
    assert not [d for d in serving.dead_letters(ran.w, BY_HTTP) if case.uid.encode() in bytes(d["payload"])]


def test_position_and_field_point_at_the_fault(ran):
    body = json.dumps(serving.event("u", [[1]], [2], WHEN, project=BY_HTTP, effective_sample_count="2"))
    problem = ran.stream.post(f"/{BY_HTTP}", body).json()
    assert problem["field"] == "effective_sample_count" and body[problem["position"]:].startswith('"2"')
    body = '{"a": 1}\n' + json.dumps(serving.event("u", [[1], [2, 3]], [2, 1], WHEN, project=BY_HTTP))
    answer = ran.stream.post(f"/{BY_HTTP}", body)
    assert answer.status_code == 400 and answer.headers["Content-Type"] == "application/problem+json"
    problem, errors = answer.json(), answer.json()["errors"]
    assert (problem["code"], problem["accepted"], problem["rejected"]) == ("missing_endpoint", 0, 2)
    assert [(e["index"], e["line"], e["code"]) for e in errors] == [(0, 1, "missing_endpoint"), (1, 2, "ragged_rows")]
    assert errors[1]["field"] == "request.inputs[1]" and body[errors[1]["position"]:].startswith("[2, 3]")


def test_mlruns_own_answer_to_its_ingest_form(ran):
    answer = ran.stream.post(f"/{BY_HTTP}", serving.ingest("ing", [[1]], [2], model="my-model"))
    assert answer.status_code == 202
    assert answer.json() == {"status": "accepted", "endpoint_id": "ing", "endpoint_name": "my-model"}
    answer = ran.stream.post(f"/{BY_HTTP}", {"model_endpoint_uid": "ing", "inputs": [[1]]})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "missing required fields: model_endpoint_name, outputs"
    serving.wait_handled(ran.w, BY_HTTP)
    got = serving.lake_rows(ran.w, BY_HTTP, "ing")
    assert len(got) == 1 and uuid.UUID(got[0]["request_id"]).version == 4
    assert abs(serving.us_of(got[0]["timestamp"]) - mm.now_us()) < 60_000_000


def test_old_senders_without_an_id_get_mlruns(ran):
    """MLRun <= 1.7 hashed function, model and version; 32 digits of it are the uid, all 40 an alias."""
    w = ran.w
    sha = "5dc9d8be817169f1fcd55c0bce4e2924674239c3"
    w.project("my-proj")
    topic = serving.wait_topic(w, "my-proj")
    plain = serving.event(None, [[1]], [2], WHEN, "r1", "my-proj", "my-model:v1")
    del plain["endpoint_id"]
    w.produce(topic, plain, dict(serving.event(sha, [[3]], [4], WHEN, "r2", "my-proj", "my-model:v1")))
    serving.wait_handled(w, "my-proj")
    assert sorted(r["f0"] for r in serving.lake_rows(w, "my-proj", sha[:32])) == [1.0, 3.0]
    assert w.one("SELECT alias FROM endpoint_aliases")["alias"] == sha


def test_nothing_of_an_event_is_logged_or_in_metrics(ran):
    secret = "my mother's name is Rosalind Quarterbridge"
    long_secret = secret * 3
    good = serving.event("priv", [[secret, long_secret]], [long_secret], WHEN, "r1", BY_HTTP)
    bad = dict(good, when="not a time " + secret)
    assert ran.stream.post(f"/{BY_HTTP}", good).status_code == 202
    answer = ran.stream.post(f"/{BY_HTTP}", bad)
    assert answer.status_code == 400 and secret not in answer.text
    ran.w.produce(ran.w.topic(BY_HTTP), bad)
    serving.wait_handled(ran.w, BY_HTTP)
    assert secret not in ran.stream.text() and secret not in ran.stream.get("/metrics").text
    assert not [d for d in serving.dead_letters(ran.w, BY_HTTP) if secret in d["error"]]
    bodies = [bytes(r["body"]) for r in ran.w.rows("SELECT body FROM slots s JOIN endpoints e ON e.id = s.endpoint_id "
                                                   "WHERE e.uid = 'priv'")]
    assert bodies and all(long_secret.encode() not in b for b in bodies)
    column = serving.total(ran.w, "priv", BY_HTTP)["features"][1]
    assert column["texts"] == {} and column["long_texts"] == [1] + [0] * 7
