"""docker-compose.yml and each function.yaml say what the programs read (tests/deploy/consistency.py); the rendered chart is `make test-deploy`'s."""
import glob
import os
import re
import subprocess
import sys

import mm

COMPOSE = os.path.join(mm.ROOT, "docker-compose.yml")


def judge(tmp_path, compose):
    options = tmp_path / "options"
    options.mkdir(exist_ok=True)
    for main in glob.glob(os.path.join(mm.ROOT, "services/*/main.c")):
        name = os.path.basename(os.path.dirname(main))
        if name != "modelmon":  # that one is all of them
            told = subprocess.run([os.path.join(mm.BIN, name), "--help-markdown"], stdout=subprocess.PIPE, check=True, text=True, timeout=20)
            (options / f"{name}.md").write_text(told.stdout)
    return subprocess.run([sys.executable, os.path.join(mm.ROOT, "tests/deploy/consistency.py"), options, compose], text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def test_they_fit_the_programs(tmp_path):
    done = judge(tmp_path, COMPOSE)
    assert done.returncode == 0 and re.findall(r"^ok  +(.*)$", done.stdout, re.M) == ["function.yaml of each service", "compose file"], done.stdout


def test_a_name_that_nobody_reads_is_found(tmp_path):
    with open(COMPOSE) as f:
        text = f.read()
    assert text.count("LATENESS: ${") == 1
    (tmp_path / "compose.yml").write_text(text.replace("LATENESS: ${", "LATENES: ${"))
    done = judge(tmp_path, tmp_path / "compose.yml")
    assert done.returncode == 1 and "controller: reads no ['LATENES']" in done.stdout, done.stdout
