"""What the scripts say of themselves."""
import glob
import os
import re
import shutil
import subprocess
import tempfile

import pytest
import requests

ROOT = os.environ["MM_ROOT"]
BIN = os.environ.get("MM_BIN") or os.path.join(ROOT, "build/bin")


def run(*command):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)


def test_setup_says_what_it_takes():
    assert run("scripts/setup", "--for", "everything").returncode == 2
    told = run("scripts/setup", "--help")
    assert told.returncode == 2 and "--for demo" in told.stderr


def test_make_help_says_what_clean_deletes():
    line = next(l for l in run("make", "-s", "help").stdout.splitlines() if l.split()[:2] == ["make", "clean"])
    assert "delete build/" in line and "data" in line


def test_the_version_comes_from_one_place(tmp_path):
    def version(**env):
        return subprocess.run([os.path.join(ROOT, "scripts/version")], env=dict(os.environ, **env), stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    with open(os.path.join(ROOT, "VERSION")) as f:
        told = f.read().strip()
    assert version(VERSION="9.8.7") == "9.8.7" and version().startswith(told)
    for program in ("stream", "api", "modelmon"):
        said = subprocess.run([os.path.join(BIN, program), "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout
        assert said.startswith(f"{program} {told}"), said
    with open(os.path.join(ROOT, "charts/model-monitoring/Chart.yaml")) as f:
        assert f'appVersion: "{told}"' in f.read()
    into = tmp_path / "version.c"
    for given in ("1.2.3", "1.2.4"):
        subprocess.run([os.path.join(ROOT, "scripts/version"), str(into)], env=dict(os.environ, VERSION=given), check=True)
        assert f'"{given}"' in into.read_text()
    bad = subprocess.run([os.path.join(ROOT, "scripts/version"), str(into)], env=dict(os.environ, VERSION='1";x'), stderr=subprocess.PIPE, check=False)
    assert bad.returncode == 1 and '"1.2.4"' in into.read_text()


# --- make up, make down: scripts/dev ---
def processes_that_name(folder):
    """Running processes with the folder in their command line or environment, or that are in it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            words = os.readlink(f"/proc/{pid}/cwd").encode() + b"\0"
            for part in ("cmdline", "environ"):
                with open(f"/proc/{pid}/{part}", "rb") as f:
                    words += f.read() + b"\0"
        except OSError:
            continue  # it has ended
        if folder.encode() in words:
            found.append(words.split(b"\0")[1].decode())
    return found


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="modelmon-dev-", dir="/tmp")
    os.chmod(path, 0o755)  # PostgreSQL's user has to get through
    yield path
    subprocess.run(["scripts/dev", "wipe", path], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=120, check=False)
    shutil.rmtree(path, ignore_errors=True)


def test_up_brings_all_of_it_and_down_ends_it(folder):
    own = {k: v for k, v in os.environ.items() if not re.match("MM_TEST_(KAFKA|PG|REDIS)|MM_STACK_DIR", k)}

    def dev(command):
        return subprocess.run(["scripts/dev", command, folder], cwd=ROOT, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=240, check=False)
    services = {os.path.basename(os.path.dirname(path)) for path in glob.glob(os.path.join(ROOT, "services/*/main.c"))} - {"modelmon"}
    up = dev("up")
    assert up.returncode == 0, up.stdout + up.stderr
    urls = dict(re.findall(r"^(\S+) +(http://\S+)$", up.stdout, re.M))
    assert set(urls) == services
    for name, url in urls.items():
        answer = requests.get(url + "/readyz", timeout=10)
        assert answer.status_code == 200, (name, answer.text)
    assert dev("status").returncode == 0 and len(processes_that_name(folder)) >= len(services) + 3  # Kafka, PostgreSQL, Redis
    said = subprocess.run(["sh", "-c", f". {folder}/env; env"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True).stdout
    exported = dict(line.split("=", 1) for line in said.splitlines())
    assert exported["API_URL"] == urls["api"] and exported["LAKE_DIR"] and exported["SYSTEM_ID"]
    assert all(exported[name] in up.stdout for name in ("KAFKA_BROKERS", "DATABASE_URL", "REDIS_URL"))
    again = dev("up")  # what is up stays
    assert again.returncode == 0 and dict(re.findall(r"^(\S+) +(http://\S+)$", again.stdout, re.M)) == urls
    down = dev("down")
    assert down.returncode == 0 and "killed" not in down.stderr, down.stderr
    assert processes_that_name(folder) == []
    status = dev("status")
    assert status.returncode == 1 and not re.search(" up, ", status.stdout), status.stdout
    assert dev("wipe").returncode == 0 and not os.path.exists(folder)
