"""The rows of the matrix: what kills and stops processes and servers. Others are in files of their own."""
import subprocess
import time

import mm
from brokers import KillLeader
from disk import Full, Power, Refuse
from groups import Backlog, Clocks, Leaders, Order, Rebalance
from malformed import Requests, Texts
from network import Cuts
from points import Memory, Points
from scene import Case
from tamper import Tamper

STOP_S = 10.0


class Clean(Case):
    """No fault at all: what the checker must find clean."""
    name = "C0"

    def run(self, r):
        r.pause(5, 6)


def ours(r):
    """The processes whose faults could cost something."""
    return [n for n in r.t.names if n != "api"]


class Kill(Case):
    """kill -9 of one service after the other, at random times, under load; a supervisor starts it again."""
    name = "K1"

    def run(self, r):
        for i in range(r.n):
            r.pause(0.3, 3)
            name = ours(r)[i % len(ours(r))]
            r.t.services[name].kill9()
            r.injections += 1
            r.pause(0.01, 1)
            r.t.restart(name)
        r.pause(1, 2)


class KillAll(Case):
    """kill -9 of all at once, the servers too, and a start in random order."""
    name = "K6"
    kinds = ("stack", "embedded")
    default_n = 2

    def run(self, r):
        for _ in range(r.n):
            r.pause(1, 3)
            servers = ["kafka", "postgres", "redis"] if r.t.kind == "stack" else []
            for server in servers:
                mm.stack("kill9", server)
            for name in r.t.names:
                r.t.services[name].kill9()
            r.injections += 1
            order = servers + list(r.t.names)
            r.rng.shuffle(order)
            for name in order:
                mm.stack("start", name) if name in servers else r.t.restart(name)
        r.pause(1, 2)


class ServerKill(Case):
    """kill -9 of a server under load; it is started again on the same data."""
    kinds = ("stack",)
    server = ""
    down_s = (0.05, 2)

    def run(self, r):
        for _ in range(r.n):
            r.pause(0.5, 3)
            mm.stack("kill9", self.server)
            r.injections += 1
            r.pause(*self.down_s)
            mm.stack("start", self.server)
        r.pause(1, 2)


class KillKafka(ServerKill):
    name, server, default_n = "K3", "kafka", 1


class KillPostgres(ServerKill):
    name, server = "K4", "postgres"


class KillRedis(ServerKill):
    """… and FLUSHALL, in turn."""
    name, server, default_n = "K5", "redis", 8

    def run(self, r):
        for i in range(r.n):
            r.pause(0.1, 1)
            if i % 2:
                mm.stack("kill9", "redis")
                r.pause(*self.down_s)
                mm.stack("start", "redis")
            else:
                r.t.world.redis().flushall()
            r.injections += 1
        r.pause(1, 2)


class Freeze(Case):
    """SIGSTOP of a service, 1 to 20 s, while the others go on: its partitions and its leadership may be another's when it wakes. One
    that ends itself for that, with code 1 (Kafka calls it fenced), is started again, as a supervisor does."""
    name = "K7"
    default_n = 3
    longest_s = 20

    def run(self, r):
        for i in range(r.n):
            r.pause(0.5, 2)
            s = r.t.services[ours(r)[i % len(ours(r))]]
            s.signal(19)
            r.injections += 1
            r.pause(1, self.longest_s)
            s.signal(18)
            r.supervise()
        r.watch(3)


class Stop(Case):
    """SIGTERM under load, with each server dead in turn: the end within 10 s, always, and what was accepted is there."""
    name = "S1"
    default_n = 4
    servers = (None, "kafka", "postgres", "redis")

    def run(self, r):
        for i in range(r.n):
            server = self.servers[i % 4] if r.t.kind == "stack" else None
            r.pause(0.5, 2)
            if server:
                mm.stack("kill9", server)
                r.pause(0.05, 1.5)
            self.stop_all(r, server)
            r.injections += 1
            if server:
                mm.stack("start", server)
            for name in r.t.names:
                r.t.restart(name)
        r.pause(1, 2)

    def stop_all(self, r, server):
        """The code is 0 whatever is dead: what was not taken comes again from the ledger, what was accepted is answered."""
        began, cut = time.monotonic(), r.load.cut
        for name in r.t.names:
            r.t.services[name].signal(15)
        for name in r.t.names:
            s = r.t.services[name]
            try:
                code = s.child.wait(max(0.1, STOP_S + 2 - (time.monotonic() - began)))
            except subprocess.TimeoutExpired:
                code = None
            took = time.monotonic() - began
            if took > STOP_S or code != 0:
                last = s.text().splitlines()[-1:]
                r.faults.append(f"{name} ended with {code} after {took:.1f} s, {server or 'all'} {'dead' if server else 'alive'}: {last}")
                s.kill9()
        if r.load.cut > cut:
            r.faults.append(f"{r.load.cut - cut} requests were taken and not answered, {server or 'all'} {'dead' if server else 'alive'}")


class Poison(Case):
    """Many records that must become dead letters, of all kinds, between those that must not."""
    name = "P1"
    default_n = 400

    def load(self, kind):
        return dict(poisonous=1.0, pause_s=0.005, give_up=0.0)

    def run(self, r):
        end = time.monotonic() + 120
        while r.load.poisoned < r.n and time.monotonic() < end:
            time.sleep(0.05)
        r.injections = r.load.poisoned


class Rare(Poison):
    """One record in a thousand is poisonous: n of them among n thousand good ones."""
    name = "P2"
    kinds = ("stack",)
    default_n = 5

    def load(self, kind):
        return dict(poisonous=0.2, batch=200, pause_s=0.0, give_up=0.0, late=0.01, twice=0.0, strange=0.0)

    def run(self, r):
        end = time.monotonic() + 900
        while (r.load.poisoned < r.n or r.load.j.acked < 1000 * r.n) and time.monotonic() < end:
            time.sleep(0.05)
        r.injections = r.load.poisoned
        if r.load.j.acked < 1000 * r.n:
            r.faults.append(f"{r.load.j.acked} events in 15 minutes")


CASES = {c.name: c for c in (Clean(), Tamper(), Kill(), Points(), KillKafka(), KillLeader(), KillPostgres(), KillRedis(), KillAll(), Freeze(),
                             Stop(), Memory(), Poison(), Rare(), Cuts(), Full(), Refuse(), Power(), Rebalance(), Leaders(), Clocks(), Order(),
                             Backlog(), Requests(), Texts())}
# What `make test` runs in its four minutes: test, target, injections.
SMOKE = (("C1", "embedded", 0), ("K1", "stack", 4), ("K1", "embedded", 3), ("K2", "embedded", 12), ("K2", "stack", 5), ("K4", "stack", 1),
         ("K7", "stack", 1), ("S1", "stack", 2), ("P1", "stack", 200), ("F3", "stack", 600), ("N3", "stack", 10), ("D2", "embedded", 4),
         ("D3", "embedded", 3))
