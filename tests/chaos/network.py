"""N3: connections that break at byte k of whatever is said, a COMMIT whose answer is lost, a COMMIT that comes late."""
import re

import mm
from proxy import Proxy
from scene import Case


class Cuts(Case):
    """Between our processes and PostgreSQL and Redis, and between senders and the stream service."""
    name = "N3"
    kinds = ("stack",)
    default_n = 20

    def env(self, kind):
        self.links = {"postgres": Proxy(int(re.search(r":(\d+)/", mm.need("DATABASE_URL"))[1])),
                      "redis": Proxy(int(mm.need("REDIS_URL").rpartition(":")[2].split("/")[0])), "http": None}
        return {}

    def start(self, t):
        """The services' ways lead through the proxies; the checker's do not."""
        for s in t.services.values():
            s.env["DATABASE_URL"] = re.sub(r":\d+/", f":{self.links['postgres'].port}/", s.env["DATABASE_URL"])
            s.env["REDIS_URL"] = re.sub(r":\d+/", f":{self.links['redis'].port}/", s.env["REDIS_URL"])

    def run(self, r):
        self.links["http"] = Proxy(r.t.port())
        r.load.http = lambda: self.links["http"].port
        for i in range(r.n):
            if i % 4 == 0:
                link = self.links["postgres"]
                link.hold_commit(r.rng.uniform(0.3, 1.5)) if i % 8 else link.lose_answer()
            else:
                link = self.links[r.rng.choice(("postgres", "postgres", "redis", "http"))]
                link.cut(int(4096 ** r.rng.random()), r.rng.choice(("up", "down")))
            r.injections += link.wait(5)
        r.pause(1, 2)

    def end(self):
        for link in self.links.values():
            if link:
                link.close()
