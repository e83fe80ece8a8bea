"""/livez, /readyz and /metrics of every service while the database does not answer: at once, whatever waits for it."""
import concurrent.futures
import contextlib
import re
import time

import pytest

import mm

SERVICES = ["api", "stream", "writer", "controller", "histogram-drift-app", "operations-app", "llm-app"]
PROBES = ["/livez", "/readyz", "/metrics"]
STUCK = 12  # requests; more than there are threads for them, and connections


def quickest(service, path):
    """Of a few: the machine may be busy with other things."""
    best = 60.0
    for _ in range(5):
        began = time.monotonic()
        assert service.get(path).status_code in (200, 503)
        best = min(best, time.monotonic() - began)
    return best


def ask(service):
    """What goes through the database: a read, a tick, an event of a project that is not known yet."""
    if service.binary == "api":
        return service.get("/api/v1/projects/p", timeout=60)
    return service.post("/", mm.metric_event("a" * 32, start_us=0, end_us=60_000_000), timeout=60)


@contextlib.contextmanager
def frozen_database():
    mm.stack("pause", "postgres")
    try:
        yield
    finally:
        mm.stack("resume", "postgres")


@pytest.mark.parametrize("binary", SERVICES)
def test_probes_answer_while_the_database_is_frozen(binary):
    with mm.World() as w, w.service(binary) as service:
        service.wait_ready()
        w.project("p")
        with concurrent.futures.ThreadPoolExecutor(STUCK) as threads:
            with frozen_database():
                asked = [threads.submit(ask, service) for _ in range(STUCK)]
                if binary == "api":
                    mm.wait_for(lambda: service.metric("modelmon_http_busy") > STUCK - 4, 20, "the requests are stuck")
                took = {path: quickest(service, path) for path in PROBES}
                assert max(took.values()) < 0.1, took
            answers = [a.result() for a in asked]
        assert all(a.status_code in (200, 202, 400, 404, 422, 503) for a in answers), [a.text for a in answers]
        assert not [a.text for a in answers if re.search(r"server at|postgresql|127\.0\.0\.1|SQL", a.text, re.I)], "a driver's words"
        mm.wait_for(service.ready, 40, "ready again")


def test_a_request_waits_for_a_thread_for_some_seconds_alone():
    with mm.World() as w, w.service("api", HTTP_WORKERS=1) as api:
        api.wait_ready()
        w.project("p")
        assert api.get("/api/v1/projects/p").status_code == 200  # its connection is there: a new one would give up sooner
        with concurrent.futures.ThreadPoolExecutor(3) as threads:
            with frozen_database():
                asked = [threads.submit(api.get, "/api/v1/projects/p", timeout=60) for _ in range(3)]
                done = concurrent.futures.wait(asked, 15, concurrent.futures.FIRST_COMPLETED).done
                answer = done.pop().result()
                assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1 and "HTTP_WORKERS" in answer.text
                mm.wait_for(lambda: api.metric("modelmon_http_refused_total", reason="busy") >= 1)
            assert sorted(a.result().status_code for a in asked)[0] == 200
