"""An unmodified MLRun client that shows an access token, as MLRun's own configuration has it: MLRUN_HTTPDB__TOKEN or V3IO_ACCESS_KEY."""
import json
import os
import subprocess
import sys

import pytest

import mm

os.environ.setdefault("MLRUN_LOG_LEVEL", "ERROR")
import mlrun  # noqa: E402
from mlrun.db.httpdb import HTTPRunDB  # noqa: E402

ADMIN = "an-admin-token-for-tests-" + "x" * 20
SCRIPT = """
import sys, mlrun
project = mlrun.get_or_create_project("tutorial", context=sys.argv[1], allow_cross_project=True)
model = project.log_model("m", body=b"w", model_file="m.bin")
project.enable_model_monitoring(base_period=1)
print(project.metadata.name, {m.metadata.key for m in project.list_models()}, mlrun.get_run_db().list_projects(format_="name_only"))
"""


def make(api, name, scopes, projects):
    answer = api.post("/api/v1/tokens", {"name": name, "scopes": scopes, "projects": projects}, {"Authorization": f"Bearer {ADMIN}"})
    assert answer.status_code == 201, answer.text
    return answer.json()["token"]


def make_both(api, name, scopes, projects):
    """One without a '-', which MLRun's client shows as Bearer, and one with it, of which it makes a cookie."""
    found = {}
    while set(found) != {False, True}:
        token = make(api, f"{name}-{len(found)}-{os.urandom(4).hex()}", scopes, projects)
        found["-" in token] = token
    return found[False], found[True]


def client(tmp_path, **env):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLRUN_", "V3IO_"))}
    return subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], env={**kept, "MLRUN_LOG_LEVEL": "ERROR", **env}, timeout=120, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


@pytest.mark.parametrize("backend", ["postgresql", "sqlite"])
def test_a_token_of_its_project_is_enough(tmp_path, backend):
    with mm.World() as w:
        more = {"DATABASE_URL": f"sqlite:///{w.folder}/access.db"} if backend == "sqlite" else {}
        with w.service("api", ACCESS="tokens", ACCESS_ADMIN_TOKEN=ADMIN, ARTIFACT_PATH=str(tmp_path), **more) as api:
            api.wait_ready()
            other = api.post("/api/v1/projects", json.dumps({"metadata": {"name": "other"}}), {"Authorization": f"Bearer {ADMIN}"})
            assert other.status_code == 201, other.text
            for token in make_both(api, "user", ["admin"], ["tutorial"]):
                for name in ("MLRUN_HTTPDB__TOKEN", "V3IO_ACCESS_KEY"):
                    done = client(tmp_path, MLRUN_DBPATH=api.url(""), **{name: token})
                    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "tutorial {'m'} ['tutorial']", done.stdout + done.stderr[-2000:]
            nobody = client(tmp_path, MLRUN_DBPATH=api.url(""))
            assert nobody.returncode != 0 and "a valid token is wanted" in nobody.stderr, nobody.stderr[-2000:]
            for reader in make_both(api, "reader", ["read"], ["tutorial"]):
                db = HTTPRunDB(api.url(""))
                db.token_provider = mlrun.auth.StaticTokenProvider(reader)
                assert db.get_project("tutorial").metadata.name == "tutorial"
                with pytest.raises(mlrun.errors.MLRunAccessDeniedError):
                    db.delete_project("tutorial", deletion_strategy="cascade")
                with pytest.raises(mlrun.errors.MLRunAccessDeniedError):
                    db.get_project("other")
