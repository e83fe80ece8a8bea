#!/usr/bin/env python3
"""The API where there is much: a project of 10 000 endpoints, each with columns and a result, and an endpoint with 10 000 points.

api_page     p50 of GET …/model-endpoints?limit=50, pages that follow each other, as MLRun's client asks (tsdb-metrics=False)
api_values   p50 of GET …/metrics-values of 10 000 points
api_list_rss what the largest answer, all 10 000 records, adds to the process
Times are the client's, over one kept connection. The bars are absolute.
"""
import http.client
import json
import os
import statistics
import sys
import time

from api_server import SECOND, Api, Rows

SMOKE = bool(os.environ.get("MM_BENCH_SMOKE"))
ENDPOINTS, POINTS, TIMES = (60, 100, 3) if SMOKE else (10_000, 10_000, 200)


def line(bench, value, unit, bar):
    print(json.dumps({"bench": bench, "value": round(value, 3), "unit": unit, "yardstick": None, "ratio": None, "bar": bar,
                      "ok": value <= bar}), flush=True)


def copies(api, table, key, n, **changed):
    """n more rows like the one there is, with other values where SQL over g says so."""
    columns = ", ".join(f"'{name}', {sql}" for name, sql in changed.items())
    api.sql(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT (jsonb_populate_record(t, jsonb_build_object({columns}))).* FROM {table} t, "
            f"generate_series(1, {n}) g WHERE {key}")


def make(api, now):
    made = api.endpoint("big", "m0", spec={"feature_names": [f"f{i}" for i in range(20)], "label_names": ["y"]})
    rows = Rows(api, "big", made["metadata"]["uid"])
    first = rows.endpoint_id
    copies(api, "endpoints", f"t.id = {first}", ENDPOINTS - 1, id=f"{first} + g", uid="md5(g::text)", name="'m' || g")
    copies(api, "endpoint_schemas", f"t.endpoint_id = {first}", ENDPOINTS - 1, endpoint_id=f"{first} + g", seq="1000000 + g")
    rows.result(now - 60 * SECOND, 0.3, 0)
    copies(api, "results", f"t.endpoint_id = {first}", ENDPOINTS - 1, endpoint_id=f"{first} + g")
    copies(api, "results", f"t.endpoint_id = {first}", POINTS - 1, window_start_us="t.window_start_us - g::bigint * 1000000",
           window_end_us="t.window_end_us - g::bigint * 1000000")
    api.sql("ANALYZE")
    return made["metadata"]["uid"]


def ask(connection, path):
    began = time.monotonic()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body[:300]
    return (time.monotonic() - began) * 1000, json.loads(body)


def rss_mib(pid, what):
    with open(f"/proc/{pid}/status") as f:
        return next(int(text.split()[1]) for text in f if text.startswith(what)) / 1024


def page_ms(connection):
    times, after, seen = [], 0, 0
    path = "/api/v1/projects/big/model-endpoints?tsdb-metrics=False&limit=50"
    for _ in range(TIMES):
        ms, page = ask(connection, path + (f"&cursor={after}" if after else ""))
        times.append(ms)
        seen += len(page["endpoints"])
        after = page.get("next")
    assert seen == min(ENDPOINTS, 50 * TIMES) or SMOKE
    return statistics.median(times)


def values_ms(connection, uid, now):
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now // SECOND))
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now // SECOND - 86_400 + 120))
    query = f"name=big.histogram-data-drift.result.general_drift&start={start}&end={end}"
    times = []
    for _ in range(TIMES // 4 + 1):
        ms, values = ask(connection, f"/api/v1/projects/big/model-endpoints/{uid}/metrics-values?{query}")
        times.append(ms)
        assert len(values[0]["values"]) == POINTS
    return statistics.median(times)


def main():
    now = (time.time_ns() // 1000 // (86_400 * SECOND)) * 86_400 * SECOND - 60 * SECOND  # yesterday's last minutes: one partition
    with Api() as api:
        api.project("big")
        uid = make(api, now)
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
        line("api_page", page_ms(connection), "ms", 2)
        line("api_values", values_ms(connection, uid, now), "ms", 20)
        before = rss_mib(api.child.pid, "VmHWM")
        _, everything = ask(connection, "/api/v1/projects/big/model-endpoints?tsdb-metrics=False")
        assert len(everything["endpoints"]) == ENDPOINTS
        line("api_list_rss", rss_mib(api.child.pid, "VmHWM") - before, "MiB", 40)
        connection.close()
    return 0


sys.exit(main())
