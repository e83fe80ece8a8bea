"""Lists that are long go by pages, and what is polled has an ETag."""
import time

import pytest

from api_server import SECOND, Api


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param) as server:
        yield server


def pages(api, path, key, limit=3):
    """All of a list by its pages, each but the last one full."""
    items, cursor = [], ""
    while True:
        page = api.get(f"{path}limit={limit}" + (f"&cursor={cursor}" if cursor != "" else ""))
        assert page.status == 200, page.text
        items += page.json[key]
        if "next" not in page.json:
            return items
        assert len(page.json[key]) == limit
        cursor = page.json["next"]


def event(project, i):
    return {"entity": {"kind": "model-endpoint-result", "project": project, "ids": [f"e{i}.app.result.drift"]}, "value_dict": {"i": i}}


def test_pages_of_events_audit_and_endpoints(api):
    project = api.project()
    for i in range(7):
        assert api.post(f"/api/v1/projects/{project}/events/data-drift-detected", event(project, i)).status == 200
        api.endpoint(project, name=f"e{i}")
    events = pages(api, f"/api/v1/projects/{project}/events?", "events")
    assert [e["value_dict"]["i"] for e in events] == [6, 5, 4, 3, 2, 1, 0]
    assert [e["metadata"]["name"] for e in pages(api, f"/api/v1/projects/{project}/model-endpoints?", "endpoints")] == [f"e{i}" for i in range(7)]
    ids = [a["id"] for a in pages(api, f"/api/v1/audit?project={project}&", "audit", 4)]
    assert len(ids) == 15 and ids == sorted(ids, reverse=True)
    assert len(pages(api, f"/api/v1/projects/{project}/events?", "events", 7)) == 7  # the last page is full, and says that nothing follows


def test_pages_of_dead_letters(api):
    project = api.project()
    project_id = api.sql("SELECT id FROM projects WHERE name = %s", project)[0][0]
    at = (time.time_ns() // 1000 // SECOND) * SECOND
    if not api.file:
        day = at // (86_400 * SECOND) * 86_400 * SECOND
        api.sql(f"CREATE TABLE IF NOT EXISTS dead_letters_test PARTITION OF dead_letters FOR VALUES FROM ({day}) TO ({day + 86_400 * SECOND})")
    wanted = []
    for k, when in enumerate((at, at, at - 1)):  # two of one time are told apart by where they were
        for topic in ("a", "b"):
            for partition in (0, 1):
                api.sql("INSERT INTO dead_letters (project_id, pipeline, topic, partition, \"offset\", at_us, reason, field, error, size, payload) "
                        "VALUES (%s, 'statistics', %s, %s, %s, %s, 'bad', '', '', 1, %s)", project_id, topic, partition, k, when, b"x")
                wanted.append(f"statistics/{topic}/{partition}/{k}")
    for limit in (1, 5, 12):
        found = [letter["id"] for letter in pages(api, f"/api/v1/dead-letters?project={project}&", "dead_letters", limit)]
        assert sorted(found) == sorted(wanted) and found == pages_in_one(api, project)
    for bad in ("x", "statistics/a/0/1", "statistics/a/0/1/-5"):
        answer = api.get(f"/api/v1/dead-letters?cursor={bad}")
        assert answer.status == 400 and answer.json["field"] == "cursor", answer.text


def pages_in_one(api, project):
    return [letter["id"] for letter in api.get(f"/api/v1/dead-letters?project={project}").json["dead_letters"]]


def test_what_is_polled_is_answered_once(api):
    project = api.project()
    made = api.endpoint(project, name="m")
    for path in (f"/api/v1/projects/{project}/model-endpoints", f"/api/v1/projects/{project}/model-endpoints/m", "/api/v1/projects", f"/api/v1/projects/{project}/model-monitoring/drift-over-time", "/openapi.json",
                 f"/api/v1/projects/{project}/model-endpoints/{made['metadata']['uid']}/metrics-values?name={project}.a.metric.b"):
        first = api.get(path)
        tag = first.headers["ETag"]
        assert first.status == 200 and tag
        for names in (tag, f'"other", W/{tag}', "*"):
            again = api.request("GET", path, headers={"If-None-Match": names})
            assert again.status == 304 and again.body == b"" and again.headers["ETag"] == tag, (path, names)
        assert api.request("GET", path, headers={"If-None-Match": '"other"'}).body == first.body
    tag = api.get(f"/api/v1/projects/{project}/model-endpoints").headers["ETag"]
    api.endpoint(project, name="another")
    changed = api.request("GET", f"/api/v1/projects/{project}/model-endpoints", headers={"If-None-Match": tag})
    assert changed.status == 200 and len(changed.json["endpoints"]) == 2 and changed.headers["ETag"] != tag
