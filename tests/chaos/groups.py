"""G1, E1, T1, M1, B1: owners that change, leaders that change, clocks that jump, events in any order, a backlog."""
import collections
import json
import mmap
import os
import signal
import struct
import time

import mm
from scene import Case

CLOCK = os.path.join(mm.ROOT, "build/chaos/faultclock.so")


class Rebalance(Case):
    """Three stream services come, go, die and sleep past their session: partitions change hands, a zombie writes nothing."""
    name = "G1"
    kinds = ("stack",)
    default_n = 6
    members = ("stream", "stream-2", "stream-3")

    def start(self, t):
        for name in self.members:
            t.services[name] = t.make("stream", dict(t.services["stream"].env, CONSUMER_INSTANCE=""))
        t.names = (*t.names, *self.members[1:])
        t.port = lambda: next((t.services[n].port for n in self.members if self.lives(t.services[n])), 1)

    @staticmethod
    def lives(s):
        return s.child and s.child.poll() is None and not getattr(s, "asleep", False)

    def run(self, r):
        for i in range(r.n):
            s = r.t.services[self.members[i % 3]]
            how = r.rng.choice(("kill", "stop", "sleep"))
            if how == "sleep":  # CONSUMER_SESSION is 6 s: others have taken what it had when it wakes
                s.asleep = True
                s.signal(signal.SIGSTOP)
                r.pause(7, 10)
                s.signal(signal.SIGCONT)
                s.asleep = False
            else:
                s.kill9() if how == "kill" else s.term()
                r.pause(0.1, 3)
                r.t.restart(self.members[i % 3])
            r.injections += 1
            r.pause(0.3, 3)


class Leaders(Case):
    """Two controllers; the active one is killed, or sleeps and wakes. Each revision of each window is told, and told alike."""
    name = "E1"
    kinds = ("stack",)
    default_n = 4

    def start(self, t):
        t.services["controller-2"] = t.make("controller", t.services["controller"].env)
        t.names = (*t.names, "controller-2")

    def run(self, r):
        for _ in range(r.n):
            r.pause(1, 3)
            both = [r.t.services[n] for n in ("controller", "controller-2")]
            s = next((s for s in both if s.metric("modelmon_controller_leader") == 1), both[0])
            if r.rng.random() < 0.5:
                s.kill9()
                r.pause(0.5, 3)
                s.start()
            else:
                s.signal(signal.SIGSTOP)
                r.pause(1, 12)
                s.signal(signal.SIGCONT)
            r.injections += 1
        r.pause(1, 2)

    def judged(self, r, path):
        told = collections.defaultdict(lambda: collections.defaultdict(set))
        for record in r.t.world.consume(r.t.world.topic("p", "histogram-data-drift")):
            e = json.loads(record.value)
            told[e["endpoint_id"], e["modelmon"]["window_start_us"]][e["modelmon"]["revision"]].add(record.value)
        for w in r.t.store().rows("SELECT e.uid, w.window_start_us, w.revision FROM windows w JOIN endpoints e ON e.id = w.endpoint_id "
                                  "WHERE w.rows > 0"):
            have = told.get((w["uid"], w["window_start_us"]), {})
            if max(have, default=0) != w["revision"] or any(len(v) > 1 for v in have.values()):
                r.faults.append(f"window {w}: told {({k: len(v) for k, v in have.items()})}")


class Clocks(Case):
    """The clock of our processes jumps by up to an hour and back, and strobes by a second."""
    name = "T1"
    default_n = 6

    def start(self, t):
        path = os.path.join(t.folder, "clock")
        with open(path, "wb") as f:
            f.write(struct.pack("<q", 0))
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 8)
        for s in t.services.values():
            s.env.update(LD_PRELOAD=CLOCK, FAULT_CLOCK=path)

    def set(self, seconds):
        self.map[:] = struct.pack("<q", int(seconds * 1_000_000))

    def run(self, r):
        for _ in range(r.n):
            r.pause(0.5, 2)
            if r.rng.random() < 0.3:
                for _ in range(10):
                    self.set(r.rng.choice((-1, 1)))
                    time.sleep(0.05)
            else:
                # Not further back: an event that lies minutes before its record's own time is refused, and should be.
                self.set(r.rng.choice((3600, 600, 60, -60, -200)))
            r.injections += 1
        r.pause(1, 2)
        self.set(0)

    def end(self):
        if hasattr(self, "map"):
            self.map.close()
            self.file.close()


class Order(Case):
    """Most events come late, each comes three times, in another order each time: as if each had come once, in time."""
    name = "M1"
    default_n = 150

    def load(self, kind):
        return dict(late=0.7, late_us=20_000_000, thrice=True, give_up=0.0, pause_s=0.005)

    def run(self, r):
        end = time.monotonic() + 240
        while r.load.j.acked < 12 * r.n and time.monotonic() < end:
            time.sleep(0.05)
        r.injections = r.load.j.acked


class Backlog(Case):
    """The stream service is away for a while and catches up: the windows are those of a service that never was away, each closed once."""
    name = "B1"
    kinds = ("stack",)
    default_n = 1

    def env(self, kind):
        # Rows wait a second for their flush, the controller looks all the time: a frontier that is ahead of them is seen.
        return {"LATENESS": "4s", "STATISTICS_INTERVAL": "1s", "TICK_INTERVAL": "50ms"}

    def load(self, kind):
        return dict(http_threads=0, kafka_threads=2, late=0.0, twice=0.0, give_up=0.0, poisonous=0.0, strange=0.0)

    def run(self, r):
        for _ in range(r.n):
            r.pause(1, 2)
            r.t.services["stream"].kill9()
            r.injections += 1
            r.pause(7, 8)
            r.t.restart("stream")
        r.pause(2, 3)

    def judged(self, r, path):
        again = r.t.store().rows("SELECT endpoint_id, window_start_us, revision FROM windows WHERE revision > 1")
        if again:
            r.faults.append(f"{len(again)} windows were closed before all their rows were there: {again[:3]}")
