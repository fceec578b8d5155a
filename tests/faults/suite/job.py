"""The job under test: its settings, its process, and how it is hurt."""

import os
import signal
import subprocess
import time
from pathlib import Path

RULES = Path(__file__).resolve().parents[1] / "rules"

SETTINGS = """
[job]
name = "{name}"
rules = "{rules}"
delivery = "{delivery}"
commit_interval = "20ms"
instances = {instances}
[kafka]
brokers = ["{brokers}"]
[kafka.properties]
"session.timeout.ms" = 6000
"heartbeat.interval.ms" = 500
"transaction.timeout.ms" = 10000
"reconnect.backoff.max.ms" = 500
[streams.payments]
topics = ["{topic}"]
topic_key = "card_id"
start = "earliest"
lateness = "5s"
idle_after = "300s"
[output]
alerts = "{name}.alerts"
shadow = "{name}.shadow"
dead_letters = "{name}.dead"
[history]
url = "{history}"
flush_interval = "{flush}"
[http]
listen = "off"
"""


class Job:
    """One process of the job; `hurt` names the point at which it ends itself as `kill -9` would."""

    def __init__(self, binary, folder, instance="a", wrapper=()):
        self.binary, self.folder, self.instance, self.wrapper = binary, Path(folder), instance, list(wrapper)
        self.process = None

    def start(self, hurt=None, accept=()):
        environment = {**os.environ, "TOLLGATE_LOG": "info", "NO_COLOR": "1"}
        if hurt:
            environment["TOLLGATE_CRASH_AT"] = hurt
        log = open(self.folder / f"job-{self.instance}.log", "ab")
        log.write(f"--- start {time.time():.3f} hurt={hurt}\n".encode())
        log.flush()
        command = [*self.wrapper, str(self.binary), "run", "--config", str(self.folder / "tollgate.toml"),
                   "--instance", self.instance]
        for what in accept:
            command += ["--accept", what]
        self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds):
        """The exit code, or none if it still runs after so long."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        if self.running():
            self.process.send_signal(signal.SIGKILL)
        return self.process.wait()

    def resident(self):
        """MiB of memory that the process holds now; 0 where it does not run."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        line = next((line for line in status.splitlines() if line.startswith("VmRSS")), "VmRSS: 0 kB")
        return int(line.split()[1]) // 1024

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, seconds=40):
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        code = self.wait(seconds)
        return self.kill() if code is None else code


def write_settings(folder, **values):
    defaults = dict(rules=RULES, delivery="exactly_once", instances=1, history="history", flush="1s")
    (Path(folder) / "tollgate.toml").write_text(SETTINGS.format(**{**defaults, **values}))
