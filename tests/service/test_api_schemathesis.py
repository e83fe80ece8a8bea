"""schemathesis over /openapi.json, with a token: requests that the document allows and requests that it does not, each answer judged by
what the document says; some hundreds, and in make test-deep more than 5000 on each database."""
import json
import os
import subprocess
import sys

import pytest

from api_server import Api

DEEP = bool(os.environ.get("MM_TEST_DEEP"))
EXAMPLES = 42 if DEEP else 3  # of an operation, of which there are 120; the document's own cases come on top of it
ADMIN = "an-admin-token-for-schemathesis-" + "x" * 20


# The project is there, whatever else is asked of it is made up. 413, 414 and 431 refuse too, and pages lead who has
# no token to /ui/login (test_access).
CONFIG = """
[parameters]
"path.project" = "a"
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "413", "414", "431"]
[[operations]]
include-path-regex = "^/(ui.*)?$"
checks.missing_required_header.enabled = false
"""


# What the document allows may still be refused: fields that go together, names of others. Made up at random, what it does not allow can be
# the same in a query as what it does (a list of one and its text); the cases that are made one by one for each field are judged.
RUNS = [("fuzzing", "positive_data_acceptance,negative_data_rejection"), ("coverage,stateful", "positive_data_acceptance")]


def seed_of(api):
    """Things that requests can meet."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    for name in ("a", "bystander"):
        assert api.request("PUT", f"/api/v1/projects/{name}", {"metadata": {"name": name}}, headers).status == 200
        assert api.request("POST", f"/api/v1/projects/{name}/model-endpoints", {"metadata": {"name": "m", "project": name}}, headers).status == 201


def run(api, folder, *more):
    with open(folder / "schemathesis.toml", "w") as f:
        f.write(CONFIG)
    return subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", folder / "schemathesis.toml", "run", 
         f"http://127.0.0.1:{api.port}/openapi.json", "-H", f"Authorization: Bearer {ADMIN}",
         "--max-examples", str(EXAMPLES), "--continue-on-failure", "--seed", "1",
         "--warnings", "off", "--no-color", "--request-timeout", "20", "--generation-database", "none",
         "--report-json-path", folder / "report.json", *more],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3000, check=False, cwd=folder)  # it leaves a folder behind


@pytest.mark.parametrize("backend", ["postgres", "sqlite"] if DEEP else ["postgres"])
def test_answers_are_what_the_document_says(backend, tmp_path):
    with Api(backend=backend, ACCESS="tokens", ACCESS_ADMIN_TOKEN=ADMIN) as api:
        seed_of(api)
        for phases, excluded in RUNS if DEEP else RUNS[:1]:
            ended = run(api, tmp_path, "--phases", phases, "--exclude-checks", excluded, *([] if DEEP else ["--no-shrink"]))
            assert ended.returncode == 0, ended.stdout[-20000:]
        with open(api.log) as f:
            failed = [line for line in f if '"request_failed"' in line]
        assert not failed, failed[:3]
