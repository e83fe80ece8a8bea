"""The system under test: the services on Kafka, PostgreSQL and Redis, or all in one process on the embedded default."""
import json
import os
import random
import shutil
import tempfile
import time

import numpy
import requests

import mm
from checker import Setup
from store import Lake, Store

PERIOD_US = 2_000_000
# Small intervals: many flushes, files and windows in a short time. No sweep: it would mend what closing had missed.
FAST = dict(LATENESS="500ms", STATISTICS_INTERVAL="150ms", LAKE_AGE="700ms", LAKE_AGE_PER_FILE="0s", TICK_INTERVAL="200ms",
            MIN_SAMPLES="1", SWEEP_INTERVAL="1d", FOLD_AFTER="3s", TOPIC_PARTITIONS="2", CONSUMER_SESSION="6s")
SERVICES = ("stream", "controller", "writer", "histogram-drift-app", "api")
N_ENDPOINTS = 4


class Target:
    """with target.Stack() as t: t.services[name] are processes; t.port() is where events go, t.api() where records are made."""

    def __init__(self, env=None, binaries=None):
        self.more, self.binaries = dict(env or {}), binaries or mm.BIN
        self.services, self.setup = {}, None

    def make(self, name, env, *words):
        return mm.Service(name, env, self.folder, [os.path.join(self.binaries, name), *words])

    def start(self, *names):
        for name in names:
            self.services[name].start()
        return self

    def wait_ready(self, seconds=60):
        for s in self.services.values():
            s.wait_ready(seconds)

    def restart(self, name):
        """Starts it where it was killed; one that dies while it starts (a server is away) is started again, as a supervisor does."""
        for attempt in range(20):
            try:
                self.services[name].start()
                return
            except RuntimeError:
                if attempt == 19:
                    raise

    def call(self, method, path, body=None, project="p"):
        answer = requests.request(method, f"http://127.0.0.1:{self.api()}/api/v1/projects/{project}{path}", json=body, timeout=20)
        assert answer.status_code in (200, 201), f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def prepare(self, seed, period_us=PERIOD_US):
        """A project with endpoints; all but the last have a training set."""
        rng = random.Random(f"{seed}/training")
        self.call("PUT", "", {"metadata": {"name": "p"}, "spec": {"monitoring": {
            "base_period": f"{period_us // 1000}ms", "enabled": True}}})
        training = {}
        for i in range(N_ENDPOINTS):
            made = self.call("POST", "/model-endpoints?creation-strategy=inplace", {
                "metadata": {"name": f"m{i}", "project": "p", "endpoint_type": 1},
                "spec": {"model_name": f"m{i}", "function_name": "serving", "feature_names": ["a", "b"], "label_names": ["y"]},
                "status": {"monitoring_mode": "enabled"}})
            uid, training[uid] = made["metadata"]["uid"], None
            if i + 1 < N_ENDPOINTS:
                rows = [[rng.gauss(0.3 * i, 1), rng.randrange(40), rng.randrange(2)] for _ in range(200)]
                self.call("PUT", f"/model-endpoints/{uid}/reference", {"columns": ["a", "b", "y"], "labels": ["y"], "data": rows})
                training[uid] = {n: numpy.array([r[k] for r in rows], dtype=float) for k, n in enumerate("aby")}
        self.setup = Setup(period_us, training)
        mm.wait_for(lambda: self.store().rows("SELECT 1 FROM ledger WHERE pipeline = 'app:histogram-data-drift'"), 30, "the app reads its topic")
        return self

    @property
    def uids(self):
        return list(self.setup.training)

    def logs(self):
        return "".join(f"--- {s.tag}\n{s.text()[-5000:]}\n" for s in self.services.values())

    def __exit__(self, *_):
        for s in self.services.values():
            s.kill9()


class Stack(Target):
    kind = "stack"
    names = SERVICES

    def __enter__(self):
        self.world = mm.World().__enter__()
        self.folder, self.lake_root = self.world.folder, self.world.lake
        env = self.world.env(**{**FAST, **self.more})
        for name in SERVICES:
            self.services[name] = self.make(name, dict(env, CONSUMER_INSTANCE=f"{name}-0"))
        return self

    def __exit__(self, *_):
        super().__exit__()
        self.world.__exit__()

    def port(self):
        return self.services["stream"].port

    def api(self):
        return self.services["api"].port

    def store(self):
        return Store(self.world.database_url)

    def lake(self):
        return Lake(self.lake_root)

    @property
    def senders(self):
        return dict(http=self.port, brokers=self.world.brokers, topic=self.world.topic("p"), kafka_threads=1)


class Embedded(Target):
    kind = "embedded"
    names = ("modelmon",)

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="mm-chaos-", dir=os.environ.get("MM_TEST_DIR") or None)
        self.data = os.path.join(self.folder, "data")
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("KAFKA_", "DATABASE_", "REDIS_", "PG_"))}
        self.services["modelmon"] = self.make("modelmon", {**plain, **FAST, **self.more, "DATA_DIR": self.data}, "run")
        return self

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def port(self):
        return self.services["modelmon"].port

    api = port

    def store(self):
        return Store("sqlite://" + os.path.join(self.data, "modelmon.db"))

    def lake(self):
        return Lake(os.path.join(self.data, "lake"))

    @property
    def senders(self):
        return dict(http=self.port, http_threads=2)


TARGETS = {"stack": Stack, "embedded": Embedded}
