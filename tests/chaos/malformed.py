"""F2, F3: requests and JSON texts that are wrong, against the running services, while others send what is right."""
import http.client
import json
import random
import sys
import threading
import time

import hostile
import load
import mm
from journal import Event
from scene import Case

sys.path.append(f"{mm.ROOT}/tests/fuzz")
import oracle_json  # noqa: E402

THREADS = 6
PATIENT = 0.02  # so many of them wait for the server to close
CLOSED_S = 6  # HTTP_DEADLINE and HTTP_IDLE, and what the machine takes
GROWTH_KIB = 16384


class Malformed(Case):
    """n of them, a share for each thread; what a thread sends follows from the seed."""
    default_n = 400

    def env(self, kind):
        return {"HTTP_DEADLINE": "2s", "HTTP_IDLE": "3s"}

    def load(self, kind):
        return dict(pause_s=0.2, poisonous=0.0)

    def run(self, r):
        self.event = Event("good", r.t.uids[0], time.time_ns() // 1000, 1500, [[0.5, 3.0]], [1.0])
        r.load.j.note("sent", [self.event])
        self.wrong, self.sent, self.told, self.base = [], 0, 0, None
        self.lock, share = threading.Lock(), -(-r.n // THREADS)
        refused = refusals(r.t)
        threads = [threading.Thread(target=self.thread, args=(r, i, share)) for i in range(THREADS)]
        for t in threads:
            t.start()
        self.watch(r, threads)
        r.load.j.note("acked", [self.event.id])
        r.injections = self.sent
        r.faults += self.wrong[:5]
        if refusals(r.t) - refused < self.told:
            r.faults.append(f"{self.told} refusals were told, the counters know of {refusals(r.t) - refused}")

    def watch(self, r, threads):
        """The services answer all the while, and keep no memory of what they refuse."""
        base = None
        while any(t.is_alive() for t in threads):
            time.sleep(0.5)
            for s in r.t.services.values():
                began = time.monotonic()
                if s.child.poll() is not None or s.get("/livez").status_code != 200 or time.monotonic() - began > 2:
                    self.wrong.append(f"{s.binary} does not answer /livez in time")
            if base is None and self.sent > r.n // 2:
                base = memory(r.t)
        for name, kib in memory(r.t).items():
            if base and r.n > 50000 and kib - base[name] > GROWTH_KIB:
                self.wrong.append(f"{name} has grown by {kib - base[name]} KiB")

    def thread(self, r, i, share):
        rng = random.Random(f"{r.seed}/{self.name}/{i}")
        try:
            for k in range(share):
                if len(self.wrong) > 5:
                    return
                self.one(r, rng, f"{i}/{k}")
                with self.lock:
                    self.sent += 1
        except Exception as e:  # the case tells it
            self.wrong.append(f"{type(e).__name__}: {e}")

    def tell(self, heard):
        with self.lock:
            self.told += heard

    def one(self, r, rng, name):
        raise NotImplementedError


def refusals(target):
    """By the counters of those that are asked."""
    asked = {s.binary: s for s in target.services.values() if s.binary in ("stream", "api", "modelmon")}
    return sum(s.metric("modelmon_http_requests_total", status="4xx") for s in asked.values())


def memory(target):
    return {name: hostile.rss_kib(s.child.pid) for name, s in target.services.items()}


class Requests(Malformed):
    """Framing, chunks, heads, targets, methods, versions, noise: refused or cut, in time; what hides in them is never served."""
    name = "F2"

    def one(self, r, rng, name):
        event = load.wire(self.event).encode()
        hidden = load.wire(self.event._replace(id="hidden")).encode()
        if rng.random() < 0.5:
            hide = hostile.head("POST /p HTTP/1.1", "Host: h", f"Content-Length: {len(hidden)}") + hidden
            port, target = r.t.port(), hostile.Target("POST", "/p", event, 202, hide)
        else:
            hide = hostile.head("PUT /api/v1/projects/smuggled HTTP/1.1", "Host: h", "Content-Length: 2") + b"{}"
            port, target = r.t.api(), hostile.Target("GET", "/api/v1/projects/p", b"", 200, hide)
        kind = rng.choice(hostile.KINDS)
        data, whole = kind(rng, target)
        parts = hostile.pieces(rng, data, whole)
        patience = CLOSED_S if not whole and rng.random() < PATIENT else None
        began = time.monotonic()
        heard = hostile.speak(port, parts, rng, whole, patience)
        wrong = hostile.faults(kind, heard, whole, target)
        if patience and time.monotonic() - began > patience:
            wrong = f"it was not closed within {patience} s"
        if wrong:
            self.wrong.append(f"{name}, {kind.__name__}: {wrong}: {data[:120]!r} {heard[:120]!r}")
        self.tell(b"application/problem+json" in heard and kind is not hostile.pipelined)

    def judged(self, r, path):
        if r.t.store().rows("SELECT 1 FROM projects WHERE name = 'smuggled'"):
            r.faults.append("a project was made by a request that hid in another")


# Nothing that is made of these is an event, or a record of the api's: they name no model, and have no metadata.
BASES = [json.dumps(b).encode() for b in (
    {"request": {"inputs": [[1.5, -2e3, 0.0], [1, 2, 3]]}, "when": "2026-01-01 00:00:00+00:00", "more": {"ä": "\U0001f600", "n": None}},
    {"columns": ["a", "b"], "data": [[1, "x\n"], [True, False]], "outputs": [0, 1], "": {"deep": [[[[]]]]}},
    {"spec": {"name": "x", "labels": {"k": "v"}}, "numbers": [0, -0.0, 1e-300, 123456789012345678901234567890, 1.7976931348623157e308]})]
LIMITS = ("nested too deeply", "too many", "too long", "longer")


class Texts(Malformed):
    """JSON that is not JSON, or nearly: each verdict is that of a strict Python reader; no text is taken that should not be."""
    name = "F3"

    def start(self, t):
        self.connections = threading.local()

    def one(self, r, rng, name):
        if rng.random() < 0.02:
            return self.good(r, rng, name)
        text = oracle_json.mutant(rng, BASES).replace(b"\n", b" ")
        reads, why = oracle_json.python_reads(text)
        for api in (False, True):
            status, kind, body = self.ask(r, api, text)
            told = json.loads(body)
            detail = str(told.get("detail", ""))
            wrong = not 400 <= status < 500
            nan = b"NaN" in text or b"Infinity" in text  # as Python's json.dumps writes them: both take them
            if api and text.strip(b" \t\r"):  # it reads the whole first: its verdict is the reader's
                refused = ", byte " in f", {detail}".replace("body: ", "")
                wrong = wrong or (refused == reads and not nan and not any(w in detail for w in LIMITS))
            elif not api:
                wrong = wrong or kind != "application/problem+json" or not told.get("code") or (
                    reads and not nan and told["code"] == "malformed_json" and not text[:1] == b"[")
            if wrong:
                self.wrong.append(f"{name}: {'api' if api else 'stream'} {status} {body[:200]!r}, Python: {reads} {str(why)[:60]}: {text[:400]!r}")
            self.tell(1)
        return None

    def good(self, r, rng, name):
        """The same event in another spelling."""
        event = json.loads(load.wire(self.event))
        items = list(event.items())
        rng.shuffle(items)
        text = json.dumps(dict(items), ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, "\t", 1))).encode()
        text = rng.choice((text, text.replace(b"serving", b"\\u0073erv\\u0069ng"), b" \r\n" + text + b"\t\n"))
        status, _, body = self.ask(r, False, text)
        if status not in (202, 503):
            self.wrong.append(f"{name}: the good event was answered {status} {body[:200]!r}: {text[:300]!r}")

    def ask(self, r, api, body):
        """(status, content type, body), on a connection that is kept."""
        kept, name = self.connections.__dict__, "api" if api else "stream"
        for attempt in (1, 2):
            if name not in kept:
                kept[name] = http.client.HTTPConnection("127.0.0.1", r.t.api() if api else r.t.port(), timeout=15)
            try:
                kept[name].request("POST", "/api/v1/projects/p/model-endpoints" if api else "/p", body)
                answer = kept[name].getresponse()
                return answer.status, answer.headers["Content-Type"], answer.read()
            except (OSError, http.client.HTTPException):
                kept.pop(name).close()
                if attempt == 2:
                    raise
        return None
