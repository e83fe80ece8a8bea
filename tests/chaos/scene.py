"""One test's run: a target under load, faults, the end of the faults, and the judgement."""
import os
import random
import time

import checker
import mm
from journal import Journal
from load import Load
from store import Away


class Run:
    """What a case gets: the target, seeded randomness, n injections to make, and what it counts."""

    def __init__(self, target, seed, n, load):
        self.t, self.seed, self.n, self.load = target, seed, n, load
        self.rng = random.Random(f"{seed}/faults")
        self.injections = 0
        self.faults = []  # what the case itself found wrong

    def pause(self, low, high):
        """Random moments for faults, log-uniform: the sleep is the test."""
        time.sleep(low * (high / low) ** self.rng.random())

    def supervise(self):
        """A service that ended itself with code 1 (Kafka calls it fenced, its owner's place is another's) is started again."""
        for name in self.t.names:
            if self.t.services[name].child.poll() == 1:
                self.t.restart(name)

    def watch(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.supervise()
            time.sleep(0.2)


def settle(target, path, seconds):
    """The judgement once it is clean, and still is a little later; or what it is when the time is over."""
    store, lake, end, report, away = target.store(), target.lake(), time.monotonic() + seconds, None, None
    clean = 0
    while clean < 2:
        try:
            report, away = checker.check(path, store, lake, target.setup), None
            clean = clean + 1 if report.ok else 0
        except Away as e:
            away, clean = e, 0
        if time.monotonic() > end:
            break
        time.sleep(0.7 if clean else 0.3)
    if away:
        report = report or checker.Report()
        report.fault(f"the store does not answer: {away}")
    store.close()
    return report


def run(case, kind, targets, seed, n, settle_s=60):
    """One line of the answer, as a dict, and the logs of a failure."""
    began = time.monotonic()
    line = {"test": case.name, "seed": seed, "injections": 0, "acked": 0, "lost": 0, "duplicated": 0, "phantom": 0, "ok": False,
            "target": kind}
    logs, why = "", []
    with targets[kind](case.env(kind), case.binaries) as t:
        path = os.path.join(t.folder, "journal")
        r = None
        try:
            case.start(t)
            t.start(*t.names)
            t.wait_ready()
            t.prepare(seed, case.period_us)
            j = Journal(path)
            with Load(j, seed, t.uids, **{**t.senders, **case.load(kind)}) as load:
                r = Run(t, seed, n, load)
                case.run(r)
                load.finish(40)
            case.after(r)
            report = settle(t, path, settle_s)
            if report.ok:
                case.judged(r, path)
            line.update(acked=report.acked, lost=report.lost, duplicated=report.duplicated, phantom=report.phantom)
            why = report.faults + r.faults + [f"an answer that no sender should get: {a}" for a in load.odd[:3]]
            line["ok"] = report.ok and not why and report.acked > 0
            line["refused"] = load.refused
        except Exception as e:  # told in the line; the next test runs
            ended = [f"{s.tag} ended with {s.child.returncode}" for s in t.services.values() if s.child and s.child.poll() is not None]
            why = why + ended + [f"{type(e).__name__}: {e}"[:2000]]
        finally:
            case.end()
        line["injections"] = r.injections if r else 0
        if not line["ok"]:
            logs = t.logs()
    line["seconds"] = round(time.monotonic() - began, 1)
    if not line["ok"]:
        line["why"] = why[:6]
    return line, logs


class Case:
    """One row of the matrix. run() injects r.n faults while the load goes on; after() mends whatever is still broken."""
    name = ""
    kinds = ("stack", "embedded")
    period_us = 2_000_000
    binaries = None
    default_n = 4

    def env(self, kind):
        return {}

    def load(self, kind):
        return {}

    def start(self, t):
        """Before the processes are started."""

    def end(self):
        """Whatever happened."""

    def run(self, r):
        raise NotImplementedError

    def after(self, r):
        pass

    def judged(self, r, path):
        """When the judgement was clean: more to look at."""
