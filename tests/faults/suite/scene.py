"""One stage of the suite: topics of its own, a producer in the background, a job, and the check at the end."""

import random
import threading
import time
from pathlib import Path

from confluent_kafka import KafkaException

from . import checker
from .job import RULES, Job, write_settings
from .workload import PARTITIONS, Workload


class Scene:
    """Everything that one class of faults needs; `finish` drains the job and hands on the verdict."""

    def __init__(self, suite, name, brokers=None, rate=None, **settings):
        self.suite, self.name = suite, name
        self.cluster, self.binary = suite.cluster, suite.binary
        self.random = random.Random(f"{suite.seed}-{name}")
        self.folder = Path(suite.folder) / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rules = Path(settings.get("rules", RULES))
        self.topic, self.group = f"{name}.payments", name
        self.cluster.topics({self.topic: PARTITIONS, f"{name}.alerts": 2, f"{name}.shadow": 1, f"{name}.dead": 1})
        write_settings(self.folder, name=name, topic=self.topic, brokers=brokers or self.cluster.brokers, **settings)
        self.workload = Workload(f"{suite.seed}-{name}")
        self.producer = self.cluster.producer()
        self.rate, self.stopped = rate or suite.rate, threading.Event()
        self.produced = 0
        self.feeder = threading.Thread(target=self.feed, daemon=True)

    def start(self):
        self.feeder.start()
        return self

    def job(self, instance="a", **more):
        return Job(self.binary, self.folder, instance, **more)

    def feed(self):
        """A tick every 10 ms, so that the feeder leaves the processor alone."""
        while not self.stopped.wait(0.01):
            for _ in range(max(1, self.rate // 100)):
                self.send(self.workload.record())
            self.producer.poll(0)

    def send(self, record):
        partition, key, value = record
        while True:
            try:
                self.producer.produce(self.topic, value, key, partition)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.produced += 1

    def end_input(self):
        """Stops the feed and sends the last rows, which let everything before them have its turn."""
        self.stopped.set()
        self.feeder.join()
        for record in self.workload.last():
            self.send(record)
        left = self.producer.flush(60)
        if left:
            raise RuntimeError(f"{left} records were not taken by the broker")

    def drained(self, seconds=90):
        """Waits until everything is answered: in order, the last row of each partition goes on waiting."""
        deadline = time.monotonic() + seconds
        ends = self.cluster.ends(self.topic)
        while time.monotonic() < deadline:
            try:
                committed = self.cluster.committed(self.group, self.topic)
            except KafkaException:
                continue  # Not decided for long: what that comes to is seen below.
            if all(committed[p] >= end - 1 for p, end in ends.items()):
                return True
            time.sleep(0.3)
        return False

    def caught_up(self, seconds):
        """Whether, within so long, all that is in the topic now was answered; what comes meanwhile gives it its turn."""
        deadline, ends = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            try:
                ends = ends or self.cluster.ends(self.topic)
                read = self.cluster.committed(self.group, self.topic)
            except KafkaException:
                continue  # The broker is on its way back.
            if all(read[p] >= end for p, end in ends.items()):
                return True
            time.sleep(0.3)
        return False

    def verdict(self):
        expected = checker.expect(self.cluster.read(self.topic), {path.stem for path in self.rules.glob("*.sql")})
        alerts = self.cluster.read(f"{self.name}.alerts")
        return checker.compare(expected, alerts, self.cluster.read(f"{self.name}.dead"))

    def finish(self, jobs):
        """Lets the jobs drain and stop, then checks."""
        self.end_input()
        for job in jobs:
            if not job.running():
                job.start()
        drained = self.drained()
        codes = [job.stop() for job in jobs]
        verdict = self.verdict()
        if not drained:
            verdict.missing.append("the job did not reach the end of its input")
        verdict.missing += [f"a stop ended with exit code {code}" for code in codes if code != 0]
        return verdict
