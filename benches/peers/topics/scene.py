"""A broker of its own, its topics, and the programs that are measured on it."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).resolve().parents[3]
VELOCITY = ROOT / "benches/peers/velocity"
TICKS = os.sysconf("SC_CLK_TCK")
SIX = "r1,r2,r3,r4,r5,r6"
PROBE = """-- @id: probe
-- @title: A payment of some size
-- @status: live
-- @severity: low
-- @score: 0
-- @reason: "payment {tx_id}"
-- @owner: benches

SELECT tx_id FROM payments WHERE amount > 60
"""
SETTINGS = """[job]
name = "{out}"
rules = "rules"
delivery = "{delivery}"
commit_interval = "{interval}ms"
[kafka]
brokers = ["{brokers}"]
[streams.payments]
topics = ["{source}"]
topic_key = "card_id"
start = "earliest"
warm_up = "none"
[output]
alerts = "{out}"
shadow = "{out}.shadow"
dead_letters = "{out}.dead"
[http]
listen = "off"
"""
JVM = ["java", f"@{ROOT / 'benches/peers/jvm/options'}"]


class Scene:
    """A broker, as a context."""

    def __init__(self, binary, work):
        self.binary, self.work, self.number, self.warm = binary, work, 0, False
        self.kept = tempfile.TemporaryDirectory(prefix="tollgate-peers-")
        self.folder = Path(self.kept.name)

    def __enter__(self):
        up = [ROOT / "tests/kafka/up", "--dir", self.folder / "kafka", "--heap", "1g", "--gc", "zgc"]
        started = subprocess.run(up, stdout=subprocess.PIPE, text=True)
        if started.returncode != 0:
            raise SystemExit(started.returncode)
        exports = dict(text.removeprefix("export ").split("=", 1) for text in started.stdout.split("\n") if "=" in text)
        self.brokers = exports["KAFKA_PLAINTEXT"]
        # Quiet: at the end it would tell that the broker is gone.
        self.client = {"bootstrap.servers": self.brokers, "log_level": 2}
        self.admin = AdminClient(self.client)
        return self

    def __exit__(self, *_):
        subprocess.run([ROOT / "tests/kafka/down", "--dir", self.folder / "kafka"], stdout=subprocess.DEVNULL)
        self.kept.cleanup()

    def topic(self, name, partitions=1):
        """Makes a topic; its name, which no other has."""
        self.number += 1
        name = f"{name}-{self.number}"
        for future in self.admin.create_topics([NewTopic(name, partitions, 1)]).values():
            future.result(30)
        return name

    def forget(self, *prefixes):
        names = [name for name in self.admin.list_topics(timeout=30).topics if name.startswith(prefixes)]
        for future in self.admin.delete_topics(names).values():
            future.result(30)

    def producer(self, **more):
        more = {key.replace("_", "."): value for key, value in more.items()}
        return Producer(self.client | {"queue.buffering.max.messages": 1_000_000} | more)

    def listen(self, topic):
        """What is committed of a topic with one partition, from its beginning."""
        consumer = Consumer(self.client | {
            "group.id": "listener", "enable.auto.commit": False, "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10})
        consumer.assign([TopicPartition(topic, 0, 0)])
        return consumer


class Target:
    """A program that reads one topic and writes another, as a context that ends it."""

    def __init__(self, scene, kind, delivery, source, out, interval_ms, partitions=1, probe=False, every=1):
        self.kind, self.folder = kind, scene.folder / out
        self.folder.mkdir()
        bare = [scene.binary, "bench", "--serve"]
        places = [scene.brokers, source, out]
        job = [*places, delivery, str(interval_ms), SIX + (",probe" if probe else ""), self.folder]
        if kind == "tollgate":
            command = self.tollgate(scene, delivery, source, out, interval_ms, probe)
        elif kind == "flink":
            command = [*JVM, "-cp", class_path(scene, kind), "FlinkFromKafka", *job]
        elif kind == "streams":
            command = [*JVM, "-cp", class_path(scene, kind), "StreamsFromKafka", *job, str(partitions)]
        else:
            serving = "ring" if (kind, delivery) == ("echo", "exactly_once") else kind
            command = [*bare, serving, *places, f"{interval_ms}ms", str(every)]
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log, stderr=self.log)

    def tollgate(self, scene, delivery, source, out, interval_ms, probe):
        for name in ("shadow", "dead"):
            for future in scene.admin.create_topics([NewTopic(f"{out}.{name}", 1, 1)]).values():
                future.result(30)
        rules = self.folder / "rules"
        rules.mkdir()
        for file in VELOCITY.glob("*.sql"):
            (rules / file.name).write_text(file.read_text())
        if probe:
            (rules / "probe.sql").write_text(PROBE)
        settings = {"out": out, "delivery": delivery, "interval": interval_ms, "source": source}
        (self.folder / "tollgate.toml").write_text(SETTINGS.format(brokers=scene.brokers, **settings))
        return [scene.binary, "run", "--config", self.folder / "tollgate.toml"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def cpu(self):
        """Processor seconds so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self):
        """The most that it held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def check(self, deadline):
        """Ends the measurement where the program has ended, or is too late."""
        ended, late = self.process.poll() is not None, time.monotonic() > deadline
        if ended or late:
            log = (self.folder / "log").read_text(errors="replace")[-2000:]
            what = "has ended" if ended else "is not done in time"
            raise SystemExit(f"{self.kind} {what}; its log ends with:\n{log}")


def class_path(scene, profile):
    return f"{scene.work}/jvm/{profile}/classes:{scene.work}/jvm/{profile}/jars/*"
