"""The committed expectations of closed mode are what the independent numpy script gives today."""
import json
import math
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VECTORS = os.path.join(ROOT, "tests/vectors")


def same(a, b, path=""):
    """Equal in shape and text; floats to 1e-12 (numpy's sums differ by version)."""
    if isinstance(a, dict) and isinstance(b, dict):
        assert a.keys() == b.keys(), path
        for k in a:
            same(a[k], b[k], f"{path}.{k}")
    elif isinstance(a, list) and isinstance(b, list):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b)):
            same(x, y, f"{path}[{i}]")
    elif isinstance(a, float) or isinstance(b, float):
        assert math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12) or abs(a - b) < 2e-8 and path.endswith("hellinger"), path
    else:
        assert a == b, path


def test_expectations_are_those_of_the_script(tmp_path):
    out = tmp_path / "closed.json"
    subprocess.run([sys.executable, os.path.join(ROOT, "tests/support/closed_reference.py"),
                    os.path.join(VECTORS, "histogram_vectors.json"), str(out)], check=True)
    fresh = json.loads(out.read_text())
    with open(os.path.join(VECTORS, "closed_expected.json"), encoding="utf-8") as f:
        kept = json.load(f)
    assert len(fresh["cases"]) == 25
    same(kept, fresh)


def test_identical_data_does_not_drift():
    with open(os.path.join(VECTORS, "closed_expected.json"), encoding="utf-8") as f:
        cases = {c["name"]: c for c in json.load(f)["cases"]}
    for name in ("identical", "unpadded_identical", "binary_label_identical"):
        assert cases[name]["general_drift"] < 2e-8, name
