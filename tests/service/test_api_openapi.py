"""/openapi.json: the whole table, and what it says of parameters and bodies is what the server does."""
import json
import re
import urllib.parse

import pytest
from jsonschema import Draft202012Validator

from api_server import Api

BAD = {"integer": "x", "number": "x", "boolean": "2", "date-time": "yesterday"}


@pytest.fixture(scope="module")
def api():
    with Api() as server:
        yield server


@pytest.fixture(scope="module")
def document(api):
    return api.get("/openapi.json").json


def operations(document):
    for pattern, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, pattern, operation


def schemas(document):
    for method, pattern, operation in operations(document):
        for p in operation["parameters"]:
            yield p["schema"]
        yield from (media["schema"] for media in operation.get("requestBody", {}).get("content", {}).values())
        for answer in operation["responses"].values():
            yield from (media.get("schema", {}) for media in answer.get("content", {}).values())


def bad_value(schema):
    """What the schema does not take; None: it takes any text."""
    inner = schema.get("items", schema)
    for s in inner.get("anyOf", [inner]):
        if "enum" in s and "type" in s:
            return "no such word"
        if BAD.get(s.get("format") or s.get("type")):
            return BAD[s.get("format") or s["type"]]
    return "x" * (inner["maxLength"] + 1) if inner.get("maxLength", 9999) < 2000 else None


def test_it_is_the_whole_table(api, document):
    assert document["openapi"].startswith("3.1") and document["info"]["version"]
    table = {(m.upper(), p) for m, p, _ in operations(document)}
    with open(__file__.replace("tests/service/test_api_openapi.py", "services/api/README.md")) as f:
        told = set(re.findall(r"^\| (GET|PUT|POST|PATCH|DELETE) \| `([^`]+)` \|", f.read(), re.M))
    assert table == told and len(table) > 100
    ids = [o["operationId"] for _, _, o in operations(document)]
    assert len(ids) == len(set(ids))
    for method, pattern, o in operations(document):
        assert o["summary"] and o["security"] in ([], [{"token": [o["security"][0]["token"][0]]}] if o["security"] else []), pattern
        assert {p["name"] for p in o["parameters"] if p["in"] == "path"} == set(re.findall(r"{(\w+)}", pattern))
        assert all(p["description"] for p in o["parameters"]) and {"4XX", "5XX"} < set(o["responses"]), pattern
    for schema in schemas(document):
        Draft202012Validator.check_schema(schema)


def test_every_parameter_is_checked_by_its_row(api, document):
    """Before the handler looks at anything: the project of the path is not even there."""
    checked = 0
    for method, pattern, o in operations(document):
        path = re.sub(r"{\w+}", "nobody", pattern)
        needed = {p["name"]: "x" for p in o["parameters"] if p["in"] == "query" and p.get("required")}
        for p in o["parameters"]:
            bad = bad_value(p["schema"])
            if p["in"] != "query" or bad is None:
                continue
            query = urllib.parse.urlencode({**needed, p["name"]: bad})
            answer = api.request(method.upper(), f"{path}?{query}")
            assert answer.status == 400 and p["name"] in answer.text, f"{method} {path}?{query}: {answer.status} {answer.text}"
            checked += 1
    assert checked > 150


def bad_bodies(schema, path=()):
    """(path, a value of another type) of each member that the schema has."""
    for key, member in schema.get("properties", {}).items():
        types = {s.get("type") for s in member.get("anyOf", [member])}
        if types - {None, "null"}:
            yield (*path, key), {"a": 1} if "object" not in types else "text"
        for s in member.get("anyOf", [member]):
            yield from bad_bodies(s, (*path, key))


def smallest(schema):
    if schema.get("type") == "object":
        return {k: smallest(schema["properties"][k]) for k in schema.get("required", [])}
    if schema.get("type") == "array":
        return [smallest(schema["items"])]
    return schema["enum"][0] if "enum" in schema else {"string": "x", "integer": 1, "boolean": True}.get(schema.get("type"), "low")


def test_every_member_of_a_body_is_checked_by_its_row(api, document):
    checked, project = 0, api.project()
    made = api.post(f"/api/v1/projects/{project}/model-endpoints", {"metadata": {"name": "m", "project": project}}).json
    for method, pattern, o in operations(document):
        schema = o.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        if not schema or pattern.endswith("/reference"):
            continue  # rows are read by a reader of their own (test_api_reference)
        path = pattern.replace("{project}", project).replace("{uid}", made["metadata"]["uid"]).replace("{kind}", "data-drift-detected")
        path = re.sub(r"{\w+}", "nobody", path)
        query = urllib.parse.urlencode({p["name"]: "x" for p in o["parameters"] if p["in"] == "query" and p.get("required")})
        for at, bad in bad_bodies(schema):
            body = smallest(schema)
            inside = body
            for key in at[:-1]:
                inside = inside.setdefault(key, {})
                if isinstance(inside, list):
                    inside = inside[0]
            inside[at[-1]] = bad
            answer = api.request(method.upper(), f"{path}?{query}", json.dumps(body))
            assert answer.status == 400 and at[-1] in answer.json["detail"], f"{method} {path} {body}: {answer.status} {answer.text}"
            checked += 1
    assert checked > 100


def test_our_own_routes_answer_problems_and_mlruns_a_detail(api, document):
    for method, pattern, o in operations(document):
        answer = api.request(method.upper(), re.sub(r"{\w+}", "%C3%A4", pattern) if "{" in pattern else pattern + "?limit=x&all=2&id=%C3%A4",
                             "[]" if "requestBody" in o else None)
        if answer.status < 400 or "html" in answer.headers["Content-Type"]:
            continue
        told = o["responses"]["4XX"]["content"]
        ours = "application/json" not in told
        assert answer.headers["Content-Type"] == ("application/problem+json" if ours else "application/json"), f"{method} {pattern}"
        assert answer.json["detail"] and ("type" in answer.json) == ours
    answer = api.get("/api/v1/audit?limit=x")
    assert answer.json["field"] == "limit" and answer.json["status"] == 400 and answer.json["code"] == "invalid"
