"""Endpoint records through the cache: two api processes on one database and one Redis, and what becomes of a change."""
import contextlib
import threading
import time

import mm
import pytest
from api_server import Api, wait_for

HEARD = 4  # seconds; a record that is not told of is in the cache for 5


@contextlib.contextmanager
def replica(of, **env):
    """Another process on the same database, which stays when it ends."""
    second = Api(database=of.database, **env)
    second.drop = lambda: None
    with second:
        yield second


@pytest.fixture(scope="module")
def pair():
    with Api() as a, replica(a) as b:
        a.fresh = endpoints(a, 12)
        yield a, b


def reads(api, outcome):
    for line in api.get("/metrics").text.splitlines():
        if line.startswith(f'modelmon_cache_reads_total{{kind="endpoint",outcome="{outcome}"}} '):
            return float(line.split()[-1])
    return 0


def endpoints(api, n, name="m"):
    project = api.project()
    made = [api.endpoint(project, f"{name}{i}")["metadata"] for i in range(n)]
    api.sql("UPDATE endpoints SET first_request_us = 1700000000000000, last_request_us = 1700000000000000, "
            "change_seq = nextval('change_seq')")
    return [(f"/api/v1/projects/{project}/model-endpoints/{m['name']}?endpoint-id={m['uid']}", project, m) for m in made]


def fresh(pair, n):
    """Endpoints that no test has changed yet, in both caches: those of a new one are not taken from it for 10 s."""
    made = [pair[0].fresh.pop() for _ in range(n)]
    warm(pair, made)
    return made


def mode(api, endpoint):
    answer = api.get(endpoint[0])
    assert answer.status == 200, answer.text
    return answer.json["status"]["monitoring_mode"]


def warm(apis, made):
    """Until each has answered each of them from the cache."""
    for api in apis:
        for endpoint in made:
            def hit():
                had = reads(api, "hit")
                mode(api, endpoint)
                return reads(api, "hit") > had
            wait_for(hit, 40)


def patch(api, endpoint, value):
    _, project, m = endpoint
    answer = api.patch(f"/api/v1/projects/{project}/model-endpoints?attribute-key=monitoring_mode",
                       {"kind": "model-endpoint", "metadata": {"name": m["name"], "uid": m["uid"], "project": project, "endpoint_type": 1},
                        "spec": {"function_name": "serving", "function_tag": "latest"}, "status": {"monitoring_mode": value}})
    assert answer.status == 200, answer.text


def test_what_is_written_is_read_at_once_and_by_the_other_soon(pair):
    a, b = pair
    made = fresh(pair, 4)
    for endpoint in made:
        patch(a, endpoint, "disabled")
        assert mode(a, endpoint) == "disabled"
        wait_for(lambda: mode(b, endpoint) == "disabled", HEARD)
        patch(b, endpoint, "enabled")
        assert mode(b, endpoint) == "enabled"
        wait_for(lambda: mode(a, endpoint) == "enabled", HEARD)


def test_a_deleted_and_a_new_version_are_told(pair):
    a, b = pair
    gone, replaced = endpoints(a, 2)
    warm(pair, [gone, replaced])
    assert a.delete(gone[0]).status == 204
    assert a.get(gone[0]).status == 404
    wait_for(lambda: b.get(gone[0]).status == 404, HEARD)
    a.endpoint(replaced[1], replaced[2]["name"], strategy="overwrite")
    assert a.get(replaced[0]).status == 404
    wait_for(lambda: b.get(replaced[0]).status == 404, HEARD)


def test_a_change_by_another_service_is_seen(pair):
    """The stream and the controller say nothing on Redis: the database's list of changes does."""
    a, b = pair
    for endpoint in fresh(pair, 3):
        a.sql("UPDATE endpoints SET monitoring_mode = 'disabled', change_seq = nextval('change_seq') WHERE uid = %s", endpoint[2]["uid"])
        for api in pair:
            wait_for(lambda: mode(api, endpoint) == "disabled", HEARD)


def test_request_times_are_not_of_the_cache(pair):
    a, b = pair
    (endpoint,) = fresh(pair, 1)
    had = reads(a, "hit")
    for k in range(1, 4):
        a.sql("UPDATE endpoints SET last_request_us = %s WHERE uid = %s", 1700000000000000 + k * 1000000, endpoint[2]["uid"])
        assert a.get(endpoint[0]).json["status"]["last_request"].startswith(f"2023-11-14T22:13:2{k}")
    assert reads(a, "hit") > had


def test_flushed_again_and_again_nothing_changes(pair):
    a, b = pair
    (endpoint,) = fresh(pair, 1)
    cache, done = mm.redis.Redis.from_url(a.env["REDIS_URL"]), threading.Event()

    def flush():
        while not done.wait(0.002):
            cache.flushall()

    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        end, n = time.monotonic() + 6, 0
        while time.monotonic() < end:
            n += 1
            writer, other = (a, b) if n % 2 else (b, a)
            value = "disabled" if n % 3 else "enabled"
            patch(writer, endpoint, value)
            assert mode(writer, endpoint) == value
            wait_for(lambda: mode(other, endpoint) == value, HEARD)
        assert n > 10
    finally:
        done.set()
        flusher.join()


def test_redis_stands_still_and_goes_on(pair):
    """The database answers, soon; what was changed meanwhile is not undone by what Redis still has."""
    a, b = pair
    made = fresh(pair, 2)
    mm.stack("pause", "redis")
    try:
        for endpoint in made:
            began = time.monotonic()
            patch(a, endpoint, "disabled")
            assert mode(a, endpoint) == "disabled"
            assert time.monotonic() - began < 3
            wait_for(lambda: mode(b, endpoint) == "disabled", 10)
        for api in pair:
            wait_for(lambda: '"cache","state":"down"' in api.get("/readyz").text)
            assert api.get("/readyz").status == 200
    finally:
        mm.stack("resume", "redis")
    end = time.monotonic() + 6
    while time.monotonic() < end:
        assert {mode(api, endpoint) for api in pair for endpoint in made} == {"disabled"}
    warm(pair, made)  # and is a cache again
    assert {mode(api, endpoint) for api in pair for endpoint in made} == {"disabled"}


@pytest.mark.parametrize("url", ["memory:", ""])
def test_without_redis_what_is_written_is_read(url):
    with Api(REDIS_URL=url) as api:
        (endpoint,) = endpoints(api, 1)
        if url:
            warm([api], [endpoint])
        for value in ("disabled", "enabled") * 5:
            patch(api, endpoint, value)
            assert mode(api, endpoint) == value
        assert reads(api, "hit") > 0 if url else reads(api, "hit") == reads(api, "miss") == 0
