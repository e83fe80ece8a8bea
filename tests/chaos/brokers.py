"""K8: three brokers, of which the leader of the project's topic is killed: what was acknowledged by all in sync is with another."""
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

import mm
from scene import Case

PROPERTIES = """process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
unclean.leader.election.enable=false
offsets.topic.replication.factor=3
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
share.coordinator.state.topic.num.partitions=3
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=5000
replica.lag.time.max.ms=5000
log.cleaner.dedupe.buffer.size=16777216
"""
JAVA = ["java", "-Xms96m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", os.path.join(mm.ROOT, ".deps/kafka/libs/*")]


class Cluster:
    """Nodes 1 to 3 on ports of their own, their data below a folder; start, kill9 and end by the pids that were started."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="mm-brokers-", dir=os.environ.get("MM_TEST_DIR") or None)
        ports = free_ports(6)
        self.ports, self.children = dict(zip((1, 2, 3), ports)), {}
        voters = ",".join(f"{n}@127.0.0.1:{ports[2 + n]}" for n in self.ports)
        self.address = ",".join(f"127.0.0.1:{p}" for p in self.ports.values())
        for n, port in self.ports.items():
            os.mkdir(self.path(n))
            with open(self.path(n, "properties"), "w", encoding="utf-8") as f:
                f.write(PROPERTIES.format(id=n, voters=voters, port=port, controller=ports[2 + n], folder=self.path(n)))
            subprocess.run([*JAVA, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", self.path(n, "properties")],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def path(self, n, *more):
        return os.path.join(self.folder, str(n), *more)

    def start(self, n):
        with open(self.path(n, "log"), "ab") as log:
            self.children[n] = subprocess.Popen([*JAVA[:1], "-Xmx320m", *JAVA[1:], "kafka.Kafka", self.path(n, "properties")], stdout=log,
                                                stderr=log, stdin=subprocess.DEVNULL)

    def kill9(self, n):
        self.children[n].kill()
        self.children[n].wait()

    def end(self):
        for n in self.children:
            self.kill9(n)
        shutil.rmtree(self.folder, ignore_errors=True)

    def topics(self):
        client = KafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=5000)
        try:
            return client.describe_topics()
        finally:
            client.close()

    def partitions(self, topic=None):
        """Those that are there, as they are told: leader, replicas, isr."""
        return [p for t in self.topics() if topic in (None, t["topic"]) for p in t["partitions"]]

    def wait_whole(self, seconds=90):
        """All three are up, and each partition is in sync everywhere."""
        def whole():
            with contextlib.suppress(KafkaError):
                client = KafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=5000)
                try:
                    up = len(client.describe_cluster()["brokers"])
                finally:
                    client.close()
                return up == 3 and all(len(p["isr"]) == len(p["replicas"]) for p in self.partitions())
            return False
        mm.wait_for(whole, seconds, "three brokers in sync")


def free_ports(n):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class KillLeader(Case):
    """TOPIC_REPLICATION=3, min.insync.replicas=2, acks=all. The next is killed when the last one is in sync again."""
    name = "K8"
    kinds = ("stack",)
    default_n = 2
    cluster = None

    def env(self, kind):
        self.cluster, self.before = Cluster(), os.environ["KAFKA_BROKERS"]
        for n in self.cluster.ports:
            self.cluster.start(n)
        self.cluster.wait_whole()
        os.environ["KAFKA_BROKERS"] = self.cluster.address
        return {"TOPIC_REPLICATION": "3"}

    def start(self, t):
        t.world.delete_topics = lambda: None  # they go with the cluster

    def run(self, r):
        topic = r.t.world.topic("p")
        for i in range(r.n):
            r.pause(0.5, 2)
            before = self.cluster.partitions(topic)
            if any(len(p["replicas"]) != 3 for p in before):
                r.faults.append(f"{topic} is not on three brokers: {before}")
                return
            leader = before[i % len(before)]["leader"]
            acked = r.load.j.acked
            self.cluster.kill9(leader)
            r.injections += 1
            mm.wait_for(lambda: r.supervise() or r.load.j.acked > acked + 200, 30, "events are acknowledged with two brokers")
            self.cluster.start(leader)
            self.cluster.wait_whole()
            r.supervise()
        r.watch(8)

    def end(self):
        if self.cluster:
            self.cluster.end()
            os.environ["KAFKA_BROKERS"] = self.before
        self.cluster = None
