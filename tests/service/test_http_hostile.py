"""Requests that no client means: thousands of them, made from a seed. The server stays up, takes nothing hidden in them, keeps
no memory and no count of them, and ends at once when it is told to.

SEED=… replays a run.
"""
import json
import os
import random

import pytest

import hostile
import mm
import serving

SEED = int(os.environ.get("SEED", "20251124"))
WHEN = 1_763_980_000_000_000
TIMES = 2000


def attack(service, target, times):
    """Good requests among them are served as ever. Returns how many those were, and the growth of memory after the first fifth."""
    r = random.Random(SEED)
    good, base = 0, 0
    for i in range(times):
        kind = r.choice(hostile.KINDS)
        data, whole = kind(r, target)
        heard = hostile.speak(service.port, hostile.pieces(r, data, whole), r, whole)
        what = f"SEED={SEED}, request {i}, {kind.__name__}: {data[:200]!r}\n{heard[:400]!r}"
        wrong = hostile.faults(kind, heard, whole, target)
        assert not wrong, f"{wrong}: {what}"
        good += whole
        if i % 100 == 99:
            assert service.get("/livez").status_code == 200 and service.child.poll() is None, what
        if i == times // 5:
            base = hostile.rss_kib(service.child.pid)
    return good, hostile.rss_kib(service.child.pid) - base


def assert_well(service):
    def left():
        busy, connections = service.metric("modelmon_http_busy"), service.metric("modelmon_http_connections")
        assert busy == 1 and connections <= 2, f"{busy} requests on {connections} connections"
        return True
    mm.wait_for(left, 20, "no request is left")
    assert service.metric("modelmon_http_refused_total", reason="head") > 100
    code, seconds = service.term()
    assert code == 0 and seconds < 2, (code, seconds, service.text()[-2000:])


def test_events_over_http():
    with mm.World() as w, w.service("stream", SINKS="none", HTTP_DEADLINE="1s", HTTP_IDLE="2s") as stream:
        stream.wait_ready()
        w.project("p")
        w.make_topic(w.topic("p"))  # a sink would have done it
        event = json.dumps(serving.event("a", [[1.0]], [1.0], WHEN, "r", "p")).encode()
        hidden = hostile.head("POST /p HTTP/1.1", "Host: h", f"Content-Length: {len(event)}") + event
        mm.wait_for(lambda: stream.post("/p", event).status_code == 202)
        before = stream.metric("modelmon_http_events_total", outcome="accepted")
        good, growth = attack(stream, hostile.Target("POST", "/p", event, 202, hidden), TIMES)
        assert good > TIMES // 20 and stream.metric("modelmon_http_events_total", outcome="accepted") == before + good, "nothing hidden is taken"
        assert growth < 4096, f"{growth} KiB more"
        assert_well(stream)


def test_the_api():
    with mm.World() as w, w.service("api", HTTP_DEADLINE="1s", HTTP_IDLE="2s") as api:
        api.wait_ready()
        w.project("p")
        hidden = hostile.head("PUT /api/v1/projects/smuggled HTTP/1.1", "Host: h", "Content-Length: 2") + b"{}"
        good, growth = attack(api, hostile.Target("GET", "/api/v1/projects/p", b"", 200, hidden), TIMES // 2)
        assert good > TIMES // 40 and not w.rows("SELECT 1 FROM projects WHERE name = 'smuggled'")
        assert growth < 4096, f"{growth} KiB more"
        assert_well(api)


@pytest.mark.parametrize("times, status", [(200, 200), (5000, 414)])
def test_a_long_query_is_answered_and_does_not_hold_the_end_up(times, status):
    with mm.World() as w, w.service("api") as api:
        api.wait_ready()
        w.project("p")
        answer = api.get("/api/v1/projects/p?" + "&".join(["a=b"] * times))
        assert answer.status_code == status, answer.text
        if status != 200:
            assert answer.headers["Content-Type"] == "application/problem+json" and answer.json()["code"] == "target_too_long"
        code, seconds = api.term()
        assert code == 0 and seconds < 2
