"""The rows of the matrix that kill and stop our own processes."""
from scene import Case
from tamper import Tamper


class Clean(Case):
    """No fault at all: what the checker must find clean."""
    name = "C0"

    def run(self, r):
        r.pause(5, 6)


class Kill(Case):
    """kill -9 of one service after the other, at random times, under load; a supervisor starts it again."""
    name = "K1"

    def run(self, r):
        names = [n for n in r.t.names if n != "api"]
        for i in range(r.n):
            r.pause(0.3, 3)
            name = names[i % len(names)] if r.n >= len(names) else r.rng.choice(names)
            r.t.services[name].kill9()
            r.injections += 1
            r.pause(0.01, 1)
            r.t.restart(name)
        r.pause(1, 2)


CASES = {c.name: c for c in (Clean(), Tamper(), Kill())}

# What `make test` runs in its four minutes: test, target, injections.
SMOKE = (("C1", "embedded", 0), ("K1", "stack", 4), ("K1", "embedded", 3))
