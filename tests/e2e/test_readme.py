"""The stream service's README's own lines, run as they stand against a running system: a newcomer's first endpoint gets a drift result."""
import json
import os
import re
import subprocess

import mm
import system

ROOT = os.environ["MM_ROOT"]


def block(title):
    text = open(os.path.join(ROOT, "services/stream/README.md"), encoding="utf-8").read()
    section = text[text.index("## " + title):]
    return re.search(r"```sh\n(.*?)```", section, re.S).group(1)


def test_by_hand_with_servers(tmp_path):
    with mm.World() as world, system.System(world, lateness="2s") as running:
        os.makedirs(tmp_path / "build/dev")
        (tmp_path / "build/dev/env").write_text(f"API_URL={running.api.url('')}\nSTREAM_URL={running.stream.url('')}\n")
        out = subprocess.run(["bash", "-euo", "pipefail", "-c", block("By hand, with servers")], cwd=tmp_path,
                             capture_output=True, text=True, timeout=120, check=False)
    assert out.returncode == 0, out.stderr
    answer = json.loads(out.stdout.strip().splitlines()[-1])
    assert answer[0]["data"] is True, out.stdout
    assert any(0.0 <= value <= 1.0 and status in (0, 1, 2) for _, value, status, _ in answer[0]["values"]), out.stdout
