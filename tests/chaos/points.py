"""K2 and O1: our own processes end at every named place once, and at allocations that fail. Their builds are in build/chaos."""
import contextlib
import hashlib
import os
import re
import subprocess

import requests

import mm
from scene import Case

BINARIES = os.path.join(mm.ROOT, "build/chaos/bin")
TABLE = os.path.join(mm.ROOT, "common/base/crash.h")
REACH_S = 25
# Which process passes a place, by the beginning of its name; "": any of them. The local log is the embedded default's alone.
OWNERS = (("log_", None), ("form_", "stream"), ("letter_", "stream"), ("endpoint_", "stream"), ("schema_", "stream"),
          ("slots_", "stream"), ("pending_", "stream"), ("lake_", "stream"), ("close_", "controller"), ("fold_", "controller"),
          ("relay_", "controller"), ("app_", "histogram-drift-app"), ("results_", "writer"), ("flush_intend", "stream"),
          ("", ("stream", "writer", "histogram-drift-app")))
# Passed by the first record, topic or segment of its kind: the Nth time may never come. Or by a rebalance, that a stop makes.
RARE = {"log_topic_folders", "log_topic_rename", "log_topic_sync", "topic_ledger", "claim", "claim_start", "fold_write", "log_cut",
        "endpoint_register", "schema_extend", "letter_produce", "letter_ack", "letter_row", "topic_ensure", "release",
        "log_segment_create", "log_segment_write", "log_segment_sync", "log_segment_folder", "close_outbox"}


def table():
    """Retention touches what is days old, which no load makes: tests/service/test_lake_kills.py has its places."""
    with open(TABLE, encoding="utf-8") as f:
        return [n for n in re.findall(r"^\s+X\((\w+)\)", f.read(), re.M) if not n.startswith("retention_")]


def owner(rng, name):
    found = next(who for prefix, who in OWNERS if name.startswith(prefix))
    return rng.choice(found) if isinstance(found, tuple) else found


class Points(Case):
    """Each of n places of the table (all when n is 0 or more than there are), in an order of the seed, once a place."""
    name = "K2"
    binaries = BINARIES
    default_n = 1000
    only = ()

    def env(self, kind):
        return {"KAFKA_OPTIONS": "segment.bytes=65536"} if kind == "embedded" else {}

    def load(self, kind):
        return dict(poisonous=0.1, pause_s=0.03)

    def run(self, r):
        embedded = "modelmon" in r.t.services
        names = [n for n in table() if embedded or owner(r.rng, n)]
        r.rng.shuffle(names)
        names = names if not self.only else [self.only[i % len(self.only)] for i in range(r.n)]
        for number, name in enumerate(names[:r.n]):
            service = "modelmon" if embedded else owner(r.rng, name)
            self.crash(r, name, service, number)

    def crash(self, r, name, service, number):
        """Starts the service so that it ends there, makes it pass the place, waits for that, and starts it as before."""
        s = r.t.services[service]
        times = 1 if name in RARE else r.rng.randrange(1, 5)
        s.term()
        if name == "log_cut":
            tear(r.t.data)
        s.env["MM_CRASH_AT"] = f"{name}:{times}"
        try:
            code = die(s, lambda n: self.provoke(r, name, f"q{number}-{n}"))
            if code != 137:
                r.faults.append(f"{name}: {service} ended with {code}")
            r.injections += 1
        except subprocess.TimeoutExpired:
            r.faults.append(f"{name}: {service} did not pass it {times} times in {REACH_S} s")
        finally:
            s.kill9()
            del s.env["MM_CRASH_AT"]
            r.t.restart(service)

    def provoke(self, r, name, project):
        """A new project: its topics are made, and every group is shared out anew."""
        if name == "release" or "topic" in name:
            with contextlib.suppress(requests.exceptions.RequestException, AssertionError):  # it may be starting, or ending
                r.t.call("PUT", "", {"metadata": {"name": project}, "spec": {"monitoring": {"enabled": True}}}, project)


def die(s, provoke=lambda n: None, seconds=REACH_S):
    """Starts it and gives the code it ends with."""
    try:
        s.start()
    except RuntimeError:  # it ended before it served
        return s.child.wait(1)
    for n in range(seconds):
        provoke(n)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return s.child.wait(1)
    raise subprocess.TimeoutExpired(s.binary, seconds)


def tear(data):
    """What a power cut leaves behind: half a record at the end of the newest segment of each partition."""
    for folder, _, names in os.walk(os.path.join(data, "log")):
        segments = sorted(n for n in names if n.endswith(".log"))
        if segments and "_p_v1/" in folder + "/":
            with open(os.path.join(folder, segments[-1]), "ab") as f:
                f.write(b"half a record")


class Memory(Case):
    """One allocation of the service fails: memory that is not there ends the process, and nothing is lost by it. The first from
    each place in the code (four callers deep), as long as there are places left; then the Nth, whoever it is from. What has had
    its turn is kept for a binary: the next run goes on there."""
    name = "O1"
    binaries = BINARIES
    reach_s = 8

    def run(self, r):
        names, self.done = [n for n in r.t.names if n != "api"], set()
        for i in range(r.n):
            name = names[i % len(names)]
            plan = {"MM_ALLOC_FAIL_AT": str(int(10 ** r.rng.uniform(1, 5)))} if name in self.done else {"MM_ALLOC_SITES": sites_of(name)}
            self.fail(r, r.t.services[name], plan)

    def fail(self, r, s, plan):
        s.term()
        s.env.update(plan)
        try:
            code = die(s, seconds=self.reach_s)
            if code != -6:
                r.faults.append(f"{plan} of {s.binary}: it ended with {code}")
            r.injections += 1
        except subprocess.TimeoutExpired:  # it never makes so many; there are no more places
            self.done.add(s.binary)
        finally:
            s.kill9()
            for key in plan:
                del s.env[key]
            r.t.restart(s.binary)


def sites_of(name, binaries=BINARIES):
    """The file of places that had their turn, of this very binary."""
    with open(os.path.join(binaries, name), "rb") as f:
        build = hashlib.sha256(f.read()).hexdigest()[:12]
    folder = os.path.join(mm.ROOT, "build/chaos/sites")
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, f"{name}.{build}")
