"""The alert rules: metrics that exist, runbooks that exist."""
import os
import re

import mm
import yaml


def source():
    text = ""
    for top in ("common", "services"):
        for folder, _, names in os.walk(os.path.join(mm.ROOT, top)):
            for name in names:
                if name.endswith(".c"):
                    with open(os.path.join(folder, name)) as f:
                        text += f.read()
    return text


def anchors(path):
    with open(os.path.join(mm.ROOT, path)) as f:
        heads = re.findall(r"^#+ (.*)$", f.read(), re.M)
    return {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in heads}


def test_each_rule_has_its_metrics_and_its_runbook():
    with open(os.path.join(mm.ROOT, "charts/model-monitoring/files/alerts.yaml")) as f:
        rules = [r for g in yaml.safe_load(f)["groups"] for r in g["rules"]]
    code = source()
    assert len(rules) == 6
    for rule in rules:
        names = set(re.findall(r"modelmon_\w+", rule["expr"]))
        assert names, rule["alert"]
        for name in names:
            assert f'"{name}"' in code, f"{rule['alert']}: {name} is no metric"
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert anchor in anchors(path), f"{rule['alert']}: {path} has no section {anchor}"
        with open(os.path.join(mm.ROOT, path)) as f:
            assert f"`{rule['alert']}`" in f.read()
