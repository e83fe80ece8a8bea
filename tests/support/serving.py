"""Inference events in the forms of model servers, and what became of them: slots, Parquet rows, dead letters."""
import datetime
import math
import os
import uuid

import pyarrow.parquet

import mm
from slotbytes import slot_read, slot_sum

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)
# Columns that every row has, before and behind the features and labels.
META = ["function_uri", "endpoint_name", "model_class", "timestamp", "request_id", "latency", "first_request", "last_request",
        "last_request_timestamp", "labels", "metrics", "entities", "effective_sample_count", "estimated_prediction_count",
        "feature_names", "label_names", "modelmon_offset", "modelmon_row", "endpoint_type", "endpoint_id",
        "modelmon_other"]
FAST = dict(STATISTICS_INTERVAL="50ms", LAKE_AGE="100ms", LAKE_AGE_PER_FILE="0s")


def us_of(moment):
    """Microseconds of an aware datetime, exactly."""
    return (moment - EPOCH) // MICROSECOND


# --- events ---
def event(uid, inputs, outputs, when_us, rid=None, project="p", model="m", **more):
    """As V2ModelServer pushes one."""
    made = {"class": "M", "worker": 0, "model": model, "host": "h", "function_uri": f"{project}/serving:latest",
            "endpoint_id": uid, "sampling_percentage": 100.0, "request": {"inputs": inputs}, "op": "infer",
            "resp": {"id": rid or uuid.uuid4().hex, "model_name": model, "outputs": outputs,
                     "timestamp": mm.mlrun_time(when_us), "model_endpoint_uid": uid},
            "when": mm.mlrun_time(when_us), "microsec": 1500, "effective_sample_count": len(inputs)}
    made.update(more)
    return made


def step_event(uid, inputs, outputs, when_us, rid="0", project="p", model="m", names=None, output_names=None, **more):
    """As a graph's steps push one (1.8 and later)."""
    made = {"model": model, "model_class": "M", "microsec": 1500, "when": mm.mlrun_time(when_us), "endpoint_id": uid,
            "labels": {}, "function_uri": f"{project}/serving:latest",
            "request": {"inputs": inputs, "id": rid, "input_schema": names},
            "resp": {"outputs": outputs, "output_schema": output_names}, "error": None, "metrics": None,
            "sampling_percentage": 100, "effective_sample_count": len(inputs)}
    made.update(more)
    return made


def ingest(uid, inputs, outputs, when_us=None, rid=None, model="m", **more):
    """MLRun's HTTP ingest form."""
    made = {"model_endpoint_uid": uid, "model_endpoint_name": model, "inputs": inputs, "outputs": outputs}
    if when_us is not None:
        made["timestamp"] = mm.mlrun_time(when_us)
    if rid is not None:
        made["request_id"] = rid
    made.update(more)
    return made


# --- slots ---
def slots(world, uid, project=None):
    """{(slot start, schema version, reference version): the sum} of an endpoint; {} when it is not known."""
    where = "e.uid = %s" + (" AND p.name = %s" if project else "")
    found = {}
    for row in world.rows("SELECT s.* FROM slots s JOIN endpoints e ON e.id = s.endpoint_id JOIN projects p ON p.id = e.project_id "
                          f"WHERE {where}", uid, *([project] if project else [])):
        read = slot_read(row["body"])
        assert (row["requests"], row["rows"], row["errors"]) == (read["requests"], read["rows"], read["errors"])
        assert math.isclose(row["estimated"], read["estimated"], abs_tol=1e-9)
        key = (row["slot_start_us"], row["schema_version"], row["reference_version"])
        found.setdefault(key, []).append(read)
    return {key: slot_sum(value) for key, value in found.items()}


def total(world, uid, project=None, schema=None):
    """The sum over all slots of one schema version."""
    return slot_sum([s for key, s in slots(world, uid, project).items() if schema in (None, key[1])])


def counts_without_moments(slot):
    """What must be equal however the events were grouped into flushes: all that is counted, not rounded sums."""
    keep = ("kind", "cells", "n", "under", "at_max", "over", "neg_inf", "pos_inf", "missing", "wrong_type", "texts",
            "other_texts", "long_texts", "sketch", "min", "max")
    return {**{k: slot[k] for k in ("requests", "rows", "errors", "estimated", "latency")},
            **{side: [{k: c[k] for k in keep} for c in slot[side]] for side in ("features", "labels")}}


# --- the lake ---
def lake_folder(world, project, uid):
    return os.path.join(world.lake, project, "model-endpoints/parquet", f"key={uid}")


def lake_files(world, project, uid):
    """Whole Parquet files: temporaries are elsewhere and renamed when they are complete."""
    found = []
    for folder, _, names in os.walk(lake_folder(world, project, uid)):
        found += [os.path.join(folder, n) for n in names]
    return sorted(found)


def lake_rows(world, project, uid):
    """All rows as dicts, each with its _path, in the order of time, record and row. Reads each file by its own schema."""
    rows = []
    for path in lake_files(world, project, uid):
        assert path.endswith(".parquet"), path
        for row in pyarrow.parquet.ParquetFile(path).read().to_pylist():
            rows.append(dict(row, _path=path))
    return sorted(rows, key=lambda r: (r["timestamp"], r["modelmon_offset"], r["modelmon_row"]))


def columns_of(row):
    """The features and labels of a row of lake_rows."""
    return {k: v for k, v in row.items() if k not in META and k != "_path"}


def manifest_rows(world, uid, project=None):
    where = "e.uid = %s" + (" AND p.name = %s" if project else "")
    return world.one("SELECT coalesce(sum(m.rows), 0)::bigint AS n FROM manifest m JOIN endpoints e ON e.id = m.endpoint_id "
                     f"JOIN projects p ON p.id = e.project_id WHERE {where}", uid, *([project] if project else []))["n"]


# --- waiting ---
def handled(world, topic, pipelines=("statistics", "lake")):
    """True once both pipelines have committed everything that is in the topic now."""
    from kafka import KafkaConsumer, TopicPartition
    consumer = KafkaConsumer(bootstrap_servers=world.brokers)
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        ends = consumer.end_offsets(partitions)
    finally:
        consumer.close()
    have = {(r["pipeline"], r["partition"]): r["next_offset"]
            for r in world.rows("SELECT pipeline, partition, next_offset FROM ledger WHERE topic = %s", topic)}
    return bool(ends) and all((have.get((name, p.partition)) or 0) >= end for name in pipelines for p, end in ends.items())


def wait_handled(world, *projects, seconds=40, pipelines=("statistics", "lake")):
    for project in projects:
        topic = world.topic(project)
        mm.wait_for(lambda: handled(world, topic, pipelines), seconds, f"everything in {topic} committed")


def wait_topic(world, project, seconds=20):
    """The stream service has found the project: its topic is there with its ledger rows."""
    topic = world.topic(project)
    mm.wait_for(lambda: world.rows("SELECT 1 FROM ledger WHERE topic = %s", topic), seconds, f"ledger rows of {topic}")
    return topic


def schema(world, uid, features, labels=(), project=None):
    """Names of columns, as the api stores them with a record; types come with the first values."""
    import json
    row = world.one("SELECT e.id, e.project_id FROM endpoints e JOIN projects p ON p.id = e.project_id WHERE e.uid = %s"
                    + (" AND p.name = %s" if project else ""), uid, *([project] if project else []))
    document = json.dumps({side: [{"name": n, "type": "unknown"} for n in names]
                           for side, names in (("features", features), ("labels", labels))})
    world.rows("INSERT INTO endpoint_schemas (project_id, endpoint_id, version, document, named, created_us) "
               "VALUES (%s, %s, 1, %s, true, 1)", row["project_id"], row["id"], document)
    world.rows("UPDATE endpoints SET schema_version = 1, change_seq = nextval('change_seq') WHERE id = %s", row["id"])


def dead_letters(world, project):
    return world.rows("SELECT d.* FROM dead_letters d JOIN projects p ON p.id = d.project_id WHERE p.name = %s "
                      'ORDER BY topic, partition, "offset"', project)


# --- load ---
class Load:
    """Events for some endpoints over some hours, sent again until they are acknowledged, by HTTP and by Kafka in turn.

    `ids` maps each acknowledged request id to (uid, hour)."""

    def __init__(self, world, project, port, uids, start_us, hours=3, pause=0.002, kafka=True):
        import threading
        self.w, self.project, self.port, self.uids, self.start_us, self.hours, self.pause = \
            world, project, port, uids, start_us, hours, pause
        self.ids, self.failure, self.n, self.again, self.kafka = {}, None, 0, 0, kafka
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.failure:
            raise self.failure

    def _run(self):
        try:
            while not self._stop.is_set():
                self._send()
                self._stop.wait(self.pause)
        except Exception as e:  # the test's own thread raises it
            self.failure = e

    def _send(self):
        i, self.n = self.n, self.n + 1
        uid = self.uids[i % len(self.uids)]
        hour = i // len(self.uids) % self.hours
        rid = f"r{i}"
        made = event(uid, [[float(i), i % 7], [0.5, "x"]], [0, 1], self.start_us + hour * mm.HOUR_US + i * 1000, rid, self.project)
        if i % 3 or not self.kafka:
            self._post(made)
        else:
            self.w.produce(self.w.topic(self.project), made, key=uid)
        self.ids[rid] = (uid, hour)

    def _post(self, made):
        import time

        import requests
        end = time.monotonic() + 90
        while True:
            try:
                answer = requests.post(f"http://127.0.0.1:{self.port()}/{self.project}", json=made, timeout=20)
                if answer.status_code == 202:
                    return
                assert answer.status_code == 503, (answer.status_code, answer.text)
                assert int(answer.headers["Retry-After"]) >= 1
            except requests.exceptions.ConnectionError:
                pass
            assert time.monotonic() < end, "no acknowledgement in 90 s"
            self.again += 1
            time.sleep(0.05)

    def check(self):
        """Every acknowledged event is in the lake and in the slots exactly once."""
        wanted, in_slots, in_lake = {}, {}, {}
        for rid, place in self.ids.items():
            wanted.setdefault(place, []).append(rid)
        for uid in self.uids:
            for (start, *_), slot in slots(self.w, uid, self.project).items():
                place = (uid, (start - self.start_us) // mm.HOUR_US)
                had = in_slots.get(place, (0, 0, 0))
                in_slots[place] = (had[0] + slot["requests"], had[1] + slot["rows"], had[2] + sum(slot["latency"].values()))
            for row in lake_rows(self.w, self.project, uid):
                place = (uid, (us_of(row["timestamp"]) - self.start_us) // mm.HOUR_US)
                in_lake.setdefault(place, []).append((row["request_id"], row["modelmon_row"]))
        assert {p: sorted((r, k) for r in ids for k in (0, 1)) for p, ids in wanted.items()} == \
            {p: sorted(ids) for p, ids in in_lake.items()}
        assert in_slots == {p: (len(ids), 2 * len(ids), len(ids)) for p, ids in wanted.items()}
        for uid in self.uids:
            of_uid = [r for r, (u, _) in self.ids.items() if u == uid]
            assert manifest_rows(self.w, uid, self.project) == 2 * len(of_uid)
            counted = total(self.w, uid, self.project)["features"]
            assert sum(counted[0]["sketch"].values()) == 2 * len(of_uid) and counted[1]["texts"] == {"x": len(of_uid)}
