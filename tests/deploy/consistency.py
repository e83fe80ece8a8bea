"""What deployment files say, held against the programs and against each other.

consistency.py OPTIONS COMPOSE CHART...   OPTIONS: a folder with `SERVICE --help-markdown` as SERVICE.md; COMPOSE: docker-compose.yml;
                                          CHART: rendered charts, VALUES=FILE names the row values
Prints `ok NAME` and `FAIL NAME` lines; rc 1 after a failure.
"""
import glob
import json
import os
import re
import sys

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FUNCTIONS = {"stream": "model-monitoring-stream", "controller": "model-monitoring-controller",
             "writer": "model-monitoring-writer", "histogram-drift-app": "histogram-data-drift",
             "api": "model-monitoring-api"}
NO_FUNCTIONS = {"modelmon"}  # all services in one process
WORKLOADS = ("Deployment", "StatefulSet")
UID = 10001
NEEDED = ("SYSTEM_ID", "KAFKA_BROKERS", "DATABASE_URL_FILE", "LAKE_DIR")  # where a service reads it, it is given


def load(path):
    with open(path) as f:
        return [d for d in yaml.safe_load_all(f) if d]


def options(folder):
    """Of each service, the names it reads; a secret NAME also as NAME_FILE."""
    known = {}
    for path in glob.glob(os.path.join(folder, "*.md")):
        with open(path) as f:
            text = f.read()
        names = set(re.findall(r"^\| *`?([A-Z][A-Z0-9_]+)`?", text, re.M))
        names |= set(re.findall(r"`([A-Z][A-Z0-9_]+_FILE)`", text)) | set(re.findall(r"\b([A-Z][A-Z0-9_]+_FILE)\b", text))
        known[os.path.splitext(os.path.basename(path))[0]] = names
    return known


def unknown(service, names, known):
    return sorted(set(names) - known[service])


def not_given(service, names, known):
    return sorted(n for n in NEEDED if n in known[service] and n not in names)


def services_of_tree():
    return sorted({os.path.basename(os.path.dirname(p)) for p in glob.glob(os.path.join(ROOT, "services/*/main.c"))} - NO_FUNCTIONS)


# --- function.yaml ---
def functions(known):
    bad = []
    for service in services_of_tree():
        path = os.path.join(ROOT, "services", service, "function.yaml")
        if not os.path.exists(path):
            bad.append(f"{service}: no function.yaml")
            continue
        f, = load(path)
        spec, kind = f["spec"], "application" if service.endswith("-app") else "infra"
        say = lambda ok, what: None if ok else bad.append(f"{service}: {what}")
        say(f["apiVersion"] == "nuclio.io/v1" and f["kind"] == "NuclioFunction", "apiVersion or kind")
        say(f["metadata"]["name"] == FUNCTIONS.get(service, f["metadata"]["name"]), f"name {f['metadata']['name']}")
        say(f["metadata"]["labels"] == {"mlrun__type": f"mlrun__model-monitoring-{kind}"}, "labels")
        say(spec["image"] == f"modelmon/{service}:latest", f"image {spec['image']}")
        say(spec["securityContext"]["runAsUser"] == UID, "runAsUser")
        say([t["attributes"].get("port") for t in spec["triggers"].values() if t["kind"] == "http"] == [8080], "one HTTP trigger at 8080")
        say(not any("kafka" in t["kind"] for t in spec["triggers"].values()), "a Kafka trigger: the service reads its topics itself")
        say(any(t["kind"] == "cron" for t in spec["triggers"].values()) == (service == "controller"), "cron trigger")
        names = [e["name"] for e in spec["env"]]
        say(not unknown(service, names, known), f"reads no {unknown(service, names, known)}")
        say(not not_given(service, names, known), f"is not given {not_given(service, names, known)}")
        say(0 < spec["minReplicas"] <= spec["maxReplicas"], "replicas")
    return bad


# --- docker-compose.yml ---
def compose(known, path):
    bad = []
    spec, = load(path)
    ours = {n: s for n, s in spec["services"].items() if str(s.get("image", "")).startswith("modelmon/") and "profiles" not in s}
    if sorted(ours) != services_of_tree():
        bad.append(f"services {sorted(ours)}")
    for name, s in spec["services"].items():
        for port in s.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                bad.append(f"{name}: {port} is open to other machines")
    for name, s in ours.items():
        missing = unknown(name, s["environment"], known)
        if missing:
            bad.append(f"{name}: reads no {missing}")
        if not_given(name, s["environment"], known):
            bad.append(f"{name}: is not given {not_given(name, s['environment'], known)}")
        if s["build"]["target"] != name or not s.get("read_only") or s.get("cap_drop") != ["ALL"] or not s.get("mem_limit"):
            bad.append(f"{name}: target, read_only, cap_drop or mem_limit")
    return bad


# --- the chart ---
def pod_faults(pod, ours):
    """What Kubernetes' `restricted` profile asks for, and what we ask for beyond it."""
    p, c = pod.get("securityContext", {}), [x.get("securityContext", {}) for x in pod["containers"]]
    rules = {
        "runAsNonRoot": p.get("runAsNonRoot") is True,
        "runAsUser": p.get("runAsUser", 0) >= (10000 if ours else 1),
        "seccompProfile": p.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "allowPrivilegeEscalation": all(x.get("allowPrivilegeEscalation") is False for x in c),
        "capabilities": all(x.get("capabilities") == {"drop": ["ALL"]} for x in c),
        "readOnlyRootFilesystem": not ours or all(x.get("readOnlyRootFilesystem") is True for x in c),
        "no token": pod.get("automountServiceAccountToken") is False,
        "no host namespaces": not any(pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC")),
        "volumes": all(set(v) - {"name"} <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"} for v in pod.get("volumes", [])),
        "limits": all(x["resources"]["limits"].get("memory") and x["resources"]["requests"].get("cpu") for x in pod["containers"]),
        "probes": all(x.get(k) for x in pod["containers"] for k in ("startupProbe", "livenessProbe", "readinessProbe")),
    }
    return [k for k, ok in rules.items() if not ok]


def chart(known, path):
    bad, objects = [], load(path)
    named = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    if len(named) != len(objects):
        bad.append("two objects of one name")
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    seen = set()
    for o in (o for o in objects if o["kind"] in WORKLOADS):
        component = o["metadata"]["labels"]["app.kubernetes.io/component"]
        pod = o["spec"]["template"]["spec"]
        ours = component in known
        seen.add(component)
        bad += [f"{component}: {fault}" for fault in pod_faults(pod, ours or component not in ("kafka", "postgres", "redis"))]
        if not o["spec"]["selector"]["matchLabels"].items() <= o["spec"]["template"]["metadata"]["labels"].items():
            bad.append(f"{component}: its selector does not select its pods")
        if ("Service", o["metadata"]["name"]) not in named:
            bad.append(f"{component}: no Service")
        labels = o["spec"]["template"]["metadata"]["labels"]
        matching = [q for q in policies if q["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()]
        if not {"Ingress", "Egress"} <= {t for q in matching for t in q["spec"]["policyTypes"]}:
            bad.append(f"{component}: no policy denies it by default")
        claims = {v["persistentVolumeClaim"]["claimName"] for v in pod.get("volumes", []) if "persistentVolumeClaim" in v}
        bad += [f"{component}: no claim {c}" for c in claims if ("PersistentVolumeClaim", c) not in named and "existing" not in c]
        mounted = {v["name"] for v in pod.get("volumes", [])} | {v["metadata"]["name"] for v in o["spec"].get("volumeClaimTemplates", [])}
        for container in pod["containers"]:
            bad += [f"{component}: mounts no {m['name']}" for m in container["volumeMounts"] if m["name"] not in mounted]
            env = {e["name"]: e["value"] for e in container.get("env", [])}
            for source in container.get("envFrom", []):
                env.update(named[("ConfigMap", source["configMapRef"]["name"])]["data"])
            if ours:
                bad += [f"{component}: reads no {n}" for n in unknown(component, env, known)]
                bad += [f"{component}: is not given {n}" for n in not_given(component, env, known)]
            elif component not in ("kafka", "postgres", "redis") and not env.get("SYSTEM_ID"):
                bad.append(f"{component}: no SYSTEM_ID")
            if any("://" in v and "@" in v and "postgres" in v for v in env.values()):
                bad.append(f"{component}: a password in the environment")
            secret = {i["path"] for v in pod["volumes"] for i in v.get("secret", {}).get("items", [])}
            for volume in (v["secret"] for v in pod["volumes"] if "secret" in v):
                keys = named.get(("Secret", volume["secretName"]), {}).get("stringData")
                if keys is None and volume["secretName"] != "their-secret":
                    bad.append(f"{component}: no secret {volume['secretName']}")
                bad += [f"{component}: its secret has no {i['key']}" for i in volume["items"] if keys is not None and not keys.get(i["key"])]
            files = {os.path.basename(v) for v in env.values() if v.startswith("/etc/modelmon/")}
            if files != secret:
                bad.append(f"{component}: files {sorted(files)}, mounted {sorted(secret)}")
    missing = set(services_of_tree()) - seen
    if missing:
        bad.append(f"no {sorted(missing)}")
    return bad


def main():
    folder, compose_file, *charts = sys.argv[1:]
    known, bad = options(folder), 0
    if sorted(known) != services_of_tree() or any(len(n) < 10 for n in known.values()):
        print("FAIL options of the services\n" + json.dumps({k: sorted(v) for k, v in known.items()}))
        return 1
    checks = [("function.yaml of each service", lambda: functions(known)), ("compose file", lambda: compose(known, compose_file))]
    checks += [(f"chart: {os.path.splitext(os.path.basename(c))[0]}", lambda c=c: chart(known, c)) for c in charts]
    for name, check in checks:
        faults = check()
        print(f"FAIL {name}\n  " + "\n  ".join(faults) if faults else f"ok   {name}", flush=True)
        bad += bool(faults)
    return 1 if bad else 0


sys.exit(main())
