"""The generator: threads that send events until they are acknowledged, as a careful sender does, and journal it.

Some events come late, some are sent again although they were acknowledged, some are given up after one failure.
What each thread sends follows from the seed; when it sends it does not.
"""
import hashlib
import json
import random
import threading
import time

import requests
from kafka import KafkaProducer
from kafka.errors import KafkaError

import poison
import serving
from journal import Event

ANSWER_S = 15
STRANGER_S = 3


def wire(event):
    """As V2ModelServer pushes it; of an endpoint nobody has made, as a graph's step does: it names the columns."""
    if event.uid.startswith("5"):
        return json.dumps(serving.step_event(event.uid, event.inputs, event.outputs, event.when_us, event.id, names=["a", "b"],
                                             output_names=["y"], microsec=event.latency_us))
    return json.dumps(serving.event(event.uid, event.inputs, event.outputs, event.when_us, event.id, microsec=event.latency_us))


def stranger(seed):
    """A uid that registers itself, another one every few seconds."""
    return "5" + hashlib.md5(f"{seed}/{int(time.time() // STRANGER_S)}".encode()).hexdigest()[1:]


class Load:
    """with Load(...) as load: ...; then load.finish() waits until all that is not given up is acknowledged.

    http: gives the port of now; topic and brokers: for senders that use Kafka themselves."""

    def __init__(self, journal, seed, uids, http=None, brokers=None, topic=None, http_threads=1, kafka_threads=0, batch=12,
                 pause_s=0.02, late=0.03, late_us=6_000_000, twice=0.05, give_up=0.03, poisonous=0.02, strange=0.01, thrice=False, total=None):
        self.j, self.uids, self.http, self.brokers, self.topic = journal, uids, http, brokers, topic
        self.batch, self.pause_s, self.late, self.late_us = batch, pause_s, late, late_us
        self.twice, self.give_up, self.total, self.poisonous, self.strange, self.seed = twice, give_up, total, poisonous, strange, seed
        self.thrice = thrice
        self.odd = []  # answers that no sender should get
        self.refused = self.poisoned = self.cut = 0  # cut: taken, and never answered
        self.failure = None
        self._stop = threading.Event()
        self._session = threading.local()
        self._threads = [threading.Thread(target=self._run, args=(random.Random(f"{seed}/{i}"), f"s{i}", self._post))
                         for i in range(http_threads)]
        self._threads += [threading.Thread(target=self._run, args=(random.Random(f"{seed}/k{i}"), f"k{i}", self._produce))
                          for i in range(kafka_threads)]

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self.hurry = True
        for t in self._threads:
            t.join(60)

    hurry = False  # give up what is not acknowledged: the test has failed

    def finish(self, seconds=90):
        self._stop.set()
        end = time.monotonic() + seconds
        for t in self._threads:
            t.join(max(0.0, end - time.monotonic()))
            if t.is_alive():
                raise AssertionError(f"events were not acknowledged within {seconds} s of the end of the faults: {self.odd[-3:]}")
        if self.failure:
            raise self.failure

    # --- one thread ---
    def _make(self, rng, n):
        rows = rng.choice((1, 1, 2, 3))
        now = time.time_ns() // 1000
        when = now - rng.randrange(self.late_us) if rng.random() < self.late else now
        return [Event(f"{n}-{i}", stranger(self.seed) if rng.random() < self.strange else rng.choice(self.uids), when + i, rng.randrange(200, 5000),
                      [[rng.gauss(0, 1), float(rng.randrange(40))] for _ in range(rows)],
                      [float(rng.random() < 0.5) for _ in range(rows)]) for i in range(self.batch)]

    def _run(self, rng, name, send):
        try:
            self._send_all(rng, name, send)
        except Exception as e:  # the test's own thread raises it
            self.failure = e

    def _send_all(self, rng, name, send):
        n = 0
        while not self._stop.is_set() and (self.total is None or n < self.total):
            events = self._make(rng, f"{name}-{n}")
            n += 1
            if rng.random() < self.poisonous:
                self._poison(rng, f"{name}-{n}", send)
            self.j.note("sent", events)
            if self._until_acked(events, send, rng.random() < self.give_up):
                self.j.note("acked", [e.id for e in events])
                for _ in range(2 if self.thrice else rng.random() < self.twice):
                    rng.shuffle(events)
                    send(events)
            self._stop.wait(self.pause_s)

    def _until_acked(self, events, send, give_up):
        while not self.hurry:
            if send(events):
                return True
            self.refused += 1
            if give_up:
                return False
            time.sleep(0.05)
        return False

    def _poison(self, rng, marker, send):
        """One record that is refused; sent until it is acknowledged, each attempt journaled."""
        kind = rng.choice(poison.OVER_HTTP) if send == self._post else self._next_kind(rng)
        reason, make = poison.KINDS[kind]
        body, uid = make(rng.choice(self.uids), f"bad-{marker}"), rng.choice(self.uids)
        item = [body.decode(errors="replace"), reason]

        def attempt(_):
            self.j.note("poison", [item])
            return send([(uid, body)])
        if self._until_acked(None, attempt, False):
            self.j.note("poisoned", [item])
            self.poisoned += 1

    def _next_kind(self, rng):
        """Each has its turn before one comes again."""
        if not getattr(self._session, "kinds", None):
            self._session.kinds = rng.sample(list(poison.KINDS), len(poison.KINDS))
        return self._session.kinds.pop()

    # --- two ways; True: acknowledged, all of them ---
    def _post(self, events):
        body = "\n".join(wire(e) if isinstance(e, Event) else e[1].decode() for e in events)
        try:
            answer = requests.post(f"http://127.0.0.1:{self.http()}/p", data=body, timeout=ANSWER_S)
        except requests.exceptions.RequestException as e:
            self.cut += "RemoteDisconnected" in repr(e)
            return False
        if answer.status_code == 202:
            if len(events) == 1 or f'"accepted":{len(events)},' in answer.text:
                return True
            if answer.text.endswith("}"):  # else it was cut on its way
                self.odd.append(answer.text[:200])
        elif answer.status_code not in (429, 503) or not answer.headers.get("Retry-After"):
            self.odd.append(f"{answer.status_code} {answer.text[:200]}")
        return False

    def _produce(self, events):
        producer = getattr(self._session, "producer", None)
        try:
            if producer is None:
                producer = self._session.producer = KafkaProducer(bootstrap_servers=self.brokers, acks="all", retries=3,
                                                                  request_timeout_ms=5000, max_block_ms=5000)
            records = [(e.uid, wire(e).encode()) if isinstance(e, Event) else e for e in events]
            sent = [producer.send(self.topic, body, key=uid.encode()) for uid, body in records]
            producer.flush(10)
            for s in sent:
                s.get(0)
            return True
        except KafkaError:
            if producer is not None:
                producer.close(0)
            self._session.producer = None
            return False
