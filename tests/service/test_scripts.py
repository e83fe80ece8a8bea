"""What the scripts say of themselves."""
import os
import subprocess

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
