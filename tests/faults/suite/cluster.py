"""The broker, its topics, and reading them whole."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

KAFKA = Path(__file__).resolve().parents[2] / "kafka"


class Cluster:
    """A broker of `tests/kafka`, with a second listener whose advertised port a proxy can take."""

    def __init__(self, folder, nodes=1, port=19600):
        self.folder, self.nodes, self.port = Path(folder), nodes, port

    def up(self):
        command = [KAFKA / "up", "--dir", self.folder, "--nodes", str(self.nodes), "--port", str(self.port)]
        if self.nodes == 1:
            plain, through = self.port, self.port + 5
            command += [
                "--set", f"listeners=PLAINTEXT://127.0.0.1:{plain},PROXIED://127.0.0.1:{through},"
                         f"CONTROLLER://127.0.0.1:{self.port + 3}",
                "--set", f"advertised.listeners=PLAINTEXT://127.0.0.1:{plain},PROXIED://127.0.0.1:{through + 1}",
                "--set", "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            ]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        return self

    def down(self):
        # What the brokers said stays beside the logs of the jobs.
        for node in range(1, self.nodes + 1):
            log = self.folder / f"node-{node}" / "log"
            if log.exists():
                shutil.copy(log, self.folder.parent / f"{self.folder.name}-{node}.log")
        subprocess.run([str(KAFKA / "down"), "--dir", str(self.folder)], check=False, stdout=subprocess.DEVNULL)

    def node(self, action, number=1):
        done = subprocess.run(
            [str(KAFKA / "node"), action, str(number), "--dir", str(self.folder)], check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"node {number}: {action} failed: {done.stderr}")

    def lost_ends(self):
        """How often a broker has forgotten to end a transaction that was decided (KAFKA-20734)."""
        logs = [self.folder / f"node-{node + 1}" / "log" for node in range(self.nodes)]
        return sum(log.read_text(errors="replace").count("these partitions are likely deleted already") for log in logs)

    @property
    def brokers(self):
        return ",".join(f"127.0.0.1:{self.port + 10 * node}" for node in range(self.nodes))

    def client(self, **more):
        return {"bootstrap.servers": self.brokers, **{key.replace("_", "."): value for key, value in more.items()}}

    def topics(self, names):
        """Makes topics, given as name → partitions."""
        admin = AdminClient(self.client())
        made = admin.create_topics([NewTopic(name, count, self.nodes) for name, count in names.items()])
        for future in made.values():
            future.result(30)

    def producer(self):
        return Producer(self.client(enable_idempotence=True, linger_ms=5))

    def ends(self, topic):
        """The next offset of each partition."""
        consumer = Consumer(self.client(group_id="ends"))
        partitions = consumer.list_topics(topic, 20).topics[topic].partitions
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 20)[1] for p in partitions}
        consumer.close()
        return ends

    def committed(self, group, topic):
        consumer = Consumer(self.client(group_id=group, isolation_level="read_committed"))
        partitions = consumer.list_topics(topic, 20).topics[topic].partitions
        asked = [TopicPartition(topic, p) for p in partitions]
        deadline = time.monotonic() + 30
        while True:
            try:
                found = {p.partition: max(p.offset, 0) for p in consumer.committed(asked, 20)}
                consumer.close()
                return found
            except KafkaException:
                # A broker that has just started may still look for the group's coordinator.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def read(self, topic):
        """Every committed record: (partition, offset, value, headers)."""
        consumer = Consumer(self.client(
            group_id=f"read-{os.getpid()}", isolation_level="read_committed", enable_partition_eof=True))
        open_partitions = set(consumer.list_topics(topic, 20).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, p, 0) for p in open_partitions])
        records, deadline = [], time.monotonic() + 60
        while open_partitions and time.monotonic() < deadline:
            message = consumer.poll(1)
            if message is None:
                continue
            deadline = time.monotonic() + 60
            if message.error():
                open_partitions.discard(message.partition())
                continue
            headers = {name: value for name, value in (message.headers() or [])}
            records.append((message.partition(), message.offset(), message.value(), headers))
        consumer.close()
        if open_partitions:
            raise RuntimeError(f"{topic} has nothing more for 60 s before its end: a transaction hangs in it")
        return records
