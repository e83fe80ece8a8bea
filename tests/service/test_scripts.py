"""What the scripts say of themselves."""
import os
import subprocess

ROOT = os.environ["MM_ROOT"]


def run(*command):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)


def test_setup_says_what_it_takes():
    assert run("scripts/setup", "--for", "everything").returncode == 2
    told = run("scripts/setup", "--help")
    assert told.returncode == 2 and "--for demo" in told.stderr


def test_make_help_says_what_clean_deletes():
    line = next(l for l in run("make", "-s", "help").stdout.splitlines() if l.split()[:2] == ["make", "clean"])
    assert "delete build/" in line and "data" in line
