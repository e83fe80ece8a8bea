"""What tests of our binaries share: the servers, a database and topics of their own, processes, waiting.

    with mm.World() as w:                      # own database, own SYSTEM_ID: nothing of another test is seen
        with w.service("writer") as writer:    # the binary on a free port; ended, or killed, at the end
            w.project("p")
            w.produce(w.topic("p", "model-monitoring-writer"), event)
            mm.wait_for(lambda: w.rows("SELECT 1 FROM results"))

The servers' addresses come from the environment (KAFKA_BROKERS, DATABASE_URL, REDIS_URL, as scripts/stack gives them). Nothing here
sleeps for a time: everything waits for a condition, and gives up loudly.
"""
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import psycopg2
import psycopg2.extras
import redis
import requests
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

ROOT = os.environ.get("MM_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("MM_BIN") or os.path.join(ROOT, "build/bin")
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def need(name):
    value = os.environ.get(name)
    if not value:
        raise RuntimeError(f"{name} is not set: run under tests/run, or `eval $(scripts/stack env DIR)`")
    return value


def now_us():
    return time.time_ns() // 1000


def wait_for(what, seconds=30, why="the condition"):
    """Calls what() until it gives something true, and gives that. An AssertionError in it means: not yet."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            got = what()
            if got:
                return got
            last = f"got {got!r}"
        except AssertionError as e:
            last = str(e)
        if time.monotonic() > end:
            raise AssertionError(f"{why} did not hold within {seconds} s: {last}")
        time.sleep(0.02)


def attempt(what):
    """What it gives, None where nobody answers."""
    try:
        return what()
    except requests.RequestException:
        return None


def stays(what, seconds, why="the condition"):
    """what() holds the whole time: for things that must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert what(), f"{why} did not hold"
        time.sleep(0.05)


def stack(command, server):
    """Faults of the servers that tests/run started: stop kill9 start pause resume."""
    subprocess.run([os.path.join(ROOT, "scripts/stack"), command, need("MM_STACK_DIR"), server], check=True, timeout=150,
                   env={k: v for k, v in os.environ.items() if k != "MM_TEST_RUN"}, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def another_kafka(world):
    """A second Kafka with the topics of the same installation's names: a World of which the bus alone is used; `stack` stops and starts it."""
    folder = os.path.join(world.folder, "another-kafka")
    env = dict({k: v for k, v in os.environ.items() if k not in ("MM_TEST_RUN", "STACK_PORT_BASE")}, STACK_SERVERS="kafka", KAFKA_HEAP="200m", DURABLE="0")

    def run(command, *more):
        subprocess.run([os.path.join(ROOT, "scripts/stack"), command, folder, *more], check=True, timeout=150, env=env, stdin=subprocess.DEVNULL)
    run("up")
    there = World()
    try:
        with open(os.path.join(folder, "env")) as f:
            there.brokers = re.search(r"^KAFKA_BROKERS=(.*)$", f.read(), re.M)[1]
        there.id, there.stack = world.id, run
        yield there
    finally:
        if there._producer:
            there._producer.close(2)
        there._folder.cleanup()
        run("wipe")


class Service:
    """One of our processes. Starts with `with`, or start(); what it logs is in text()."""

    def __init__(self, binary, env, folder, command=None):
        self.binary, self.env, self.folder = binary, env, folder
        self.command = command or [os.path.join(BIN, binary)]
        self.tag = f"{binary}-{uuid.uuid4().hex[:6]}"
        self.log = os.path.join(folder, self.tag + ".log")
        self.child = None
        self.port = None

    def start(self, serve=True):
        port_file = os.path.join(self.folder, self.tag + ".port")
        if os.path.exists(port_file):
            os.remove(port_file)
        env = dict(self.env, HTTP_ADDR="127.0.0.1", HTTP_PORT="0", HTTP_PORT_FILE=port_file)
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if serve:
            def port():
                if self.child.poll() is not None:
                    raise RuntimeError(f"{self.binary} ended with {self.child.returncode}\n{self.text()[-4000:]}")
                return os.path.exists(port_file) and open(port_file).read().strip()
            self.port = int(wait_for(port, 20, f"{self.binary} serving HTTP"))
        return self

    __enter__ = start

    def __exit__(self, kind, *_):
        if kind:
            sys.stderr.write(f"--- {self.tag}\n{self.text()[-6000:]}\n")
        self.kill9()

    def text(self):
        try:
            with open(self.log, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def events(self, name):
        """The log lines of that name, as objects."""
        found = []
        for line in self.text().splitlines():
            try:
                got = json.loads(line)
            except ValueError:
                continue
            if got.get("ev") == name:
                found.append(got)
        return found

    # --- HTTP ---
    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path, **kw):
        return requests.get(self.url(path), timeout=kw.pop("timeout", 20), **kw)

    def post(self, path, body, headers=None, timeout=20):
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        return requests.post(self.url(path), data=data, headers=headers, timeout=timeout)

    def ready(self):
        return self.get("/readyz").status_code == 200

    def wait_ready(self, seconds=40):
        def check():
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.binary} ended with {self.child.returncode}\n{self.text()[-4000:]}")
            answer = self.get("/readyz")
            assert answer.status_code == 200, answer.text
            return True
        wait_for(check, seconds, f"{self.binary} ready")
        return self

    def metric(self, name, **labels):
        """The sum of all its cells with these labels; 0 when there is none."""
        total = 0.0
        for line in self.get("/metrics").text.splitlines():
            m = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if m and m[1] == name:
                have = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2] or ""))
                if all(have.get(k) == v for k, v in labels.items()):
                    total += float(m[3])
        return total

    # --- ends ---
    def kill9(self):
        if self.child and self.child.poll() is None:
            self.child.kill()
        if self.child:
            self.child.wait()

    def term(self, seconds=12):
        """SIGTERM. Returns (exit code, seconds it took)."""
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.binary} did not end within {seconds} s of SIGTERM\n{self.text()[-4000:]}") from None
        return code, time.monotonic() - began

    def signal(self, number):
        self.child.send_signal(number)


class World:
    """A database, a SYSTEM_ID and a lake of its own on the shared servers."""

    def __init__(self):
        self.id = "t" + uuid.uuid4().hex[:10]
        self.brokers = need("KAFKA_BROKERS")
        server, _, _ = need("DATABASE_URL").rpartition("/")
        self.admin_url = server + "/postgres"
        self.database_url = f"{server}/mm_{self.id}"
        # A database number of its own: what is cached is named by ids, which are the same in each test's database.
        self.redis_url = f"{need('REDIS_URL').rstrip('/')}/{1 + int(self.id[1:], 16) % 15}"
        self._folder = tempfile.TemporaryDirectory(prefix=f"mm-{self.id}-", dir=os.environ.get("MM_TEST_DIR") or None)
        self.folder = self._folder.name
        self.lake = os.path.join(self.folder, "lake")
        os.mkdir(self.lake)
        self._db = self._producer = None

    def __enter__(self):
        self.admin_sql(f'CREATE DATABASE "mm_{self.id}"')
        self.redis().flushdb()
        return self

    def __exit__(self, *_):
        if self._producer:
            self._producer.close(2)
        if self._db:
            self._db.close()
        self.admin_sql(f'DROP DATABASE IF EXISTS "mm_{self.id}" WITH (FORCE)')
        self.delete_topics()
        self._folder.cleanup()

    # --- processes ---
    def env(self, **more):
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("KAFKA_", "DATABASE_", "REDIS_", "PG_"))}
        plain.update(SYSTEM_ID=self.id, KAFKA_BROKERS=self.brokers, DATABASE_URL=self.database_url, REDIS_URL=self.redis_url,
                     LAKE_DIR=self.lake, TOPIC_PARTITIONS="2", GROUP_PREFIX=self.id,
                     CONSUMER_SESSION="6s")
        plain.update({k: str(v) for k, v in more.items()})
        return plain

    def service(self, binary, **more):
        return Service(binary, self.env(**more), self.folder)

    # --- the database ---
    def admin_sql(self, sql):
        db = psycopg2.connect(self.admin_url)
        db.autocommit = True
        with db.cursor() as cursor:
            cursor.execute(sql)
        db.close()

    def rows(self, sql, *params):
        """Rows as dicts; one connection, made again when the server was away."""
        for attempt in (1, 2):
            try:
                if not self._db or self._db.closed:
                    self._db = psycopg2.connect(self.database_url)
                    self._db.autocommit = True
                with self._db.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                    cursor.execute(sql, params)
                    return [dict(r) for r in cursor.fetchall()] if cursor.description else []
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if self._db and not self._db.closed:
                    self._db.close()
                if attempt == 2:
                    raise
        return []

    def one(self, sql, *params):
        found = self.rows(sql, *params)
        assert len(found) == 1, f"{len(found)} rows: {sql}"
        return found[0]

    def migrated(self):
        """Waits until a service has made the tables: the newest migration is there."""
        newest = max(int(f.split("_")[0]) for f in os.listdir(os.path.join(ROOT, "common/db/migrations")) if f.endswith(".sql"))

        def check():
            return self.rows("SELECT 1 FROM information_schema.tables WHERE table_name = 'schema_migrations'") and \
                self.rows("SELECT 1 FROM schema_migrations WHERE version = %s", newest)
        wait_for(check, 30, "the schema")

    def days(self, *instants_us):
        """Day partitions of every partitioned table, made as db_days_ensure makes them: under its lock."""
        parents = [t["relname"] for t in self.rows("SELECT relname FROM pg_class WHERE relkind = 'p' AND "
                                                   "relnamespace = 'public'::regnamespace")]
        days = sorted({t // DAY_US * DAY_US for t in instants_us})
        made = [f"CREATE TABLE IF NOT EXISTS {p}_p{time.strftime('%Y%m%d', time.gmtime(d // 1_000_000))} PARTITION OF {p} "
                f"FOR VALUES FROM ({d}) TO ({d + DAY_US});" for p in parents for d in days]
        self.rows("BEGIN; SELECT pg_advisory_xact_lock(7305813000000000001); " + "".join(made) + " COMMIT")

    def project(self, name, base_period_us=10 * MINUTE_US, monitoring=True, default_app=True):
        return self.one("INSERT INTO projects (name, base_period_us, monitoring, default_app, created_us, updated_us) "
                        "VALUES (%s, %s, %s, %s, %s, %s) RETURNING id", name, base_period_us, monitoring, default_app,
                        now_us(), now_us())["id"]

    def endpoint(self, project_id, uid=None, name="model", **columns):
        columns = dict(project_id=project_id, uid=uid or uuid.uuid4().hex, name=name, created_us=now_us(), updated_us=now_us(),
                       **columns)
        marks = ", ".join(["%s"] * len(columns))
        return self.one(f"INSERT INTO endpoints ({', '.join(columns)}, change_seq) VALUES ({marks}, nextval('change_seq')) "
                        "RETURNING id, uid", *columns.values())

    def refuse_rows(self, table, condition):
        """From now on the database says of such a row that it does not take a value of it; DROP TRIGGER refuse ON table ends it."""
        self.rows("CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                  "$$BEGIN RAISE 'refused as a test' USING ERRCODE = '22P05'; END$$")
        self.rows(f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()")

    def app(self, project_id, name, needs_rows=False, active=True, wants_empty=False):
        return self.one("INSERT INTO apps (project_id, name, needs_rows, active, wants_empty, created_us) VALUES "
                        "(%s, %s, %s, %s, %s, %s) RETURNING id", project_id, name, needs_rows, active, wants_empty, now_us())["id"]

    def reference(self, project_id, endpoint_id, statistics, labels=(), version=1, created_us=1):
        self.rows("INSERT INTO endpoint_references (project_id, endpoint_id, version, statistics, labels, source, created_us) "
                  "VALUES (%s, %s, %s, %s, %s, 'test', %s)", project_id, endpoint_id, version, json.dumps(statistics),
                  json.dumps(list(labels)), created_us)
        self.rows("UPDATE endpoints SET reference_version = %s, change_seq = nextval('change_seq') WHERE id = %s", version,
                  endpoint_id)

    # --- the bus ---
    def topic(self, project, function=None):
        return f"monitoring_stream_{self.id}_{project}_{function + '_' if function else ''}v1"

    def admin(self):
        return KafkaAdminClient(bootstrap_servers=self.brokers)

    def make_topic(self, name, partitions=1):
        client = self.admin()
        try:
            client.create_topics([NewTopic(name, partitions, 1)])
        except TopicAlreadyExistsError:
            pass
        finally:
            client.close()
        return name

    def delete_topics(self):
        client = self.admin()
        try:
            ours = [t for t in client.list_topics() if f"monitoring_stream_{self.id}_" in t]
            if ours:
                client.delete_topics(ours)
        finally:
            client.close()

    def produce(self, topic, *values, key=None, headers=None):
        """Each acknowledged when this returns; gives their (partition, offset)."""
        if not self._producer:
            self._producer = KafkaProducer(bootstrap_servers=self.brokers, acks="all", retries=5)
        sent = []
        for value in values:
            data = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
            sent.append(self._producer.send(topic, data, key=key.encode() if key else None, headers=headers or []))
        self._producer.flush(30)
        return [(s.get(30).partition, s.get(30).offset) for s in sent]

    def consume(self, topic):
        """Everything that is in the topic now: a list of records. A topic that does not exist is empty."""
        consumer = KafkaConsumer(bootstrap_servers=self.brokers, enable_auto_commit=False, auto_offset_reset="earliest",
                                 consumer_timeout_ms=5000)
        try:
            partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
            if not partitions:
                return []
            ends = consumer.end_offsets(partitions)
            consumer.assign(partitions)
            consumer.seek_to_beginning()
            left = {p for p in partitions if ends[p] > consumer.position(p)}
            found = []
            while left:
                for batch in consumer.poll(500).values():
                    found.extend(batch)
                left = {p for p in left if consumer.position(p) < ends[p]}
            return sorted(found, key=lambda r: (r.partition, r.offset))
        finally:
            consumer.close()

    def redis(self):
        return redis.Redis.from_url(self.redis_url)


def header(record, name):
    """A header of a consumed record as text, or None."""
    return next((v.decode() for k, v in record.headers if k == name), None)


def result_event(uid, name="general_drift", value=0.8, status=2, kind=0, app="histogram-data-drift", start_us=0, end_us=0,
                 extra="{}", endpoint_name="model", revision=None, project=None):
    """A result as MLRun writes it; with revision: with our own object too."""
    event = {"endpoint_name": endpoint_name, "application_name": app, "endpoint_id": uid,
             "start_infer_time": mlrun_time(start_us - 1), "end_infer_time": mlrun_time(end_us - 1), "event_kind": "result",
             "data": json.dumps({"result_name": name, "result_value": value, "result_kind": kind, "result_status": status,
                                 "result_extra_data": extra})}
    if revision is not None:
        event["modelmon"] = {"project": project, "window_start_us": start_us, "window_end_us": end_us,
                             "revision": revision}
    return event


def metric_event(uid, name="hellinger_mean", value=0.5, **more):
    event = result_event(uid, **more)
    return dict(event, event_kind="metric", data=json.dumps({"metric_name": name, "metric_value": value}))


def stats_event(uid, name="current_stats", stats=None, **more):
    event = result_event(uid, **more)
    return dict(event, event_kind="stats", data=json.dumps({"stats_name": name, "stats": stats or {},
                                                            "timestamp": event["end_infer_time"]}))


def mlrun_time(us):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(us // 1_000_000)) + f".{us % 1_000_000:06d}+00:00"


# --- READMEs: the tables of options are the programs' own ---
SHARED_OPTIONS = {"Access", "Database", "Kafka", "Cache", "Lake", "HTTP", "Process"}  # told once, in common/README.md


def readme_options(service):
    """(what the README of a service has between its markers, what the program prints of its own options)"""
    with open(os.path.join(ROOT, "services", service, "README.md")) as f:
        text = f.read()
    block = re.search(r"<!-- options -->\n(.*)<!-- /options -->", text, re.S)
    printed = subprocess.run([os.path.join(BIN, service), "--help-markdown"], stdout=subprocess.PIPE, check=True, timeout=10,
                             env={"PATH": os.environ["PATH"]}).stdout.decode()
    sections = re.split(r"(?=^\*\*)", printed, flags=re.M)
    own = [t for t in sections if t.strip() and t.split("**")[1] not in SHARED_OPTIONS]
    return block[1] if block else "", "".join(own).rstrip() + "\n"


def readme_names(service):
    """Names of metrics that the README of a service tells of."""
    with open(os.path.join(ROOT, "services", service, "README.md")) as f:
        return set(re.findall(r"`(modelmon_\w+)", f.read()))


if __name__ == "__main__":  # tests/support/mm.py readme SERVICE...: writes the tables anew
    for name in sys.argv[2:]:
        path = os.path.join(ROOT, "services", name, "README.md")
        old, new = readme_options(name)
        with open(path) as f:
            whole = f.read()
        with open(path, "w") as f:
            f.write(whole.replace(f"<!-- options -->\n{old}<!-- /options -->", f"<!-- options -->\n{new}<!-- /options -->"))
