"""What the scripts say of themselves."""
import os
import subprocess

ROOT = os.environ["MM_ROOT"]


def run(*command):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)


def test_the_demo_tells_what_it_is_and_starts_nothing():
    for flag in ("--help", "-h"):
        told = run("scripts/demo", flag)
        assert told.returncode == 0 and told.stdout.startswith("The whole story on one machine") and not told.stderr
        assert "DEMO_EXIT" in told.stdout
    assert run("scripts/demo", "--nonsense").returncode == 2


def test_make_help_says_what_clean_deletes():
    line = next(l for l in run("make", "-s", "help").stdout.splitlines() if l.split()[:2] == ["make", "clean"])
    assert "delete build/" in line and "data" in line
