"""The faults, each a function of a suite and a count; hands on (times it happened, notes, verdict)."""

import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from statistics import median

from .proxy import Proxy
from .scene import Scene

POINTS = [
    "before-produce", "after-produce", "before-send-offsets", "after-send-offsets", "before-commit",
    "after-commit", "before-history-write", "after-history-write", "during-recovery", "during-replay",
    "before-carry-over", "after-carry-over",
]
KILLED = -9


def none(suite, count):
    """No fault at all: what the others are compared with."""
    scene = Scene(suite, "none").start()
    job = scene.job().start()
    time.sleep(max(5, count))
    return count, "", scene.finish([job])


def kills(suite, count):
    """`kill -9` at each named point in turn, at a random passage, and once in five at a random moment."""
    scene = Scene(suite, "kills").start()
    job, reached = scene.job(), Counter()
    for index in range(count):
        point = POINTS[index % len(POINTS)]
        seldom = point.startswith("during") or point.endswith("carry-over")
        passage = 1 if seldom else scene.random.randrange(1, 4 if point.endswith("history-write") else 12)
        job.start(hurt=f"{point}:{passage}")
        # Something is carried over only once the history is older than what windows look back on.
        limit = 60 if point.endswith("carry-over") else scene.random.uniform(0.5, 4) if index % 5 == 4 else 12
        code = job.wait(limit)
        if code is None:
            job.kill()
            reached["at a random moment"] += 1
        elif code == KILLED:
            reached[point] += 1
        else:
            reached[f"exit code {code} before {point}"] += 1
    notes = ", ".join(f"{point} {times}" for point, times in sorted(reached.items()))
    return sum(reached.values()), notes, scene.finish([job.start()])


def zombies(suite, count):
    """Stopped past the session and the transaction timeout while another takes over; then woken up: one ends."""
    scene = Scene(suite, "zombies").start()
    first, second = scene.job(), scene.job()
    ended = []
    first.start()
    for _ in range(count):
        time.sleep(4)
        first.pause()
        time.sleep(1)
        second.start()
        time.sleep(12)
        first.go_on()
        until = time.monotonic() + 40
        while first.running() and second.running() and time.monotonic() < until:
            time.sleep(0.2)
        if not first.running():
            ended.append(("the woken", first.wait(1)))
            first, second = second, first
        elif not second.running():
            ended.append(("its replacement", second.wait(1)))
        else:
            ended.append(("none", None))
            second.kill()
    verdict = scene.finish([first])
    verdict.wrong += [f"{who} ended with {code}, not 4" for who, code in ended if code != 4]
    shut_out = ", ".join(f"{who} with {code} {times} times" for (who, code), times in Counter(ended).items())
    return count, f"who was shut out, and its exit code: {shut_out}", verdict


def through_proxy(suite, name, **settings):
    proxy = Proxy(suite.cluster.port + 6, suite.cluster.port + 5)
    scene = Scene(suite, name, brokers=f"127.0.0.1:{suite.cluster.port + 6}", **settings).start()
    return proxy, scene, scene.job()


def supervise(job, seconds):
    """Restarts the job where it ends; the exit codes it ended with."""
    codes, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        code = job.wait(0.2)
        if code is not None:
            codes.append(code)
            job.start()
    return codes


def cut_commits(suite, count):
    """The connection is cut right behind the request that commits: nobody knows whether it was taken."""
    proxy, scene, job = through_proxy(suite, "cut-commits")
    job.start()
    codes = []
    time.sleep(4)
    for _ in range(count):
        proxy.cut_after_commits = 1
        codes += supervise(job, scene.random.uniform(2, 4))
    verdict = scene.finish([job])
    proxy.stop()
    return proxy.cuts, f"restarts of the process: {codes}", verdict


def network(suite, count):
    """No network between job and broker for a while."""
    proxy, scene, job = through_proxy(suite, "network")
    job.start()
    longest = 60 if suite.full else 12
    lengths, codes = [], []
    time.sleep(4)
    for _ in range(count):
        lengths.append(round(scene.random.uniform(1, longest), 1))
        proxy.block()
        codes += supervise(job, lengths[-1])
        proxy.unblock()
        codes += supervise(job, 5)
    verdict = scene.finish([job])
    proxy.stop()
    notes = f"cuts of {min(lengths)} to {max(lengths)} s, {sum(lengths):.0f} in all; exit codes on the way: {codes}"
    return count, notes, verdict


def broker(suite, count):
    """The broker is killed and started again."""
    scene = Scene(suite, "broker").start()
    job = scene.job().start()
    codes = []
    time.sleep(4)
    for _ in range(count):
        suite.cluster.node("kill", 1)
        codes += supervise(job, scene.random.uniform(0.2, 3))
        suite.cluster.node("start", 1)
        codes += supervise(job, 4)
    verdict = scene.finish([job])
    lost = suite.cluster.lost_ends()
    return count, f"transactions that the broker forgot to end: {lost}; exit codes on the way: {codes}", verdict


def one_of_three(suite, count):
    """One of three brokers is killed and started again."""
    three = suite.three()
    scene = Scene(three, "one-of-three").start()
    job = scene.job().start()
    codes = []
    time.sleep(4)
    for _ in range(count):
        node = scene.random.randrange(1, 4)
        three.cluster.node("kill", node)
        codes += supervise(job, scene.random.uniform(2, 6))
        three.cluster.node("start", node)
        codes += supervise(job, 5)
    return count, f"exit codes on the way: {codes}", scene.finish([job])


def disk_full(suite, count):
    """The disk of the history is full for a while; then the process is killed and must do without."""
    folder = Path(suite.folder) / "small-disk"
    folder.mkdir(exist_ok=True)
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False).returncode == 0
    if not mounted:
        return 0, "skipped: a small file system can't be mounted here", None
    try:
        scene = Scene(suite, "disk-full", history=folder / "history", rate=800).start()
        job = scene.job().start()
        for _ in range(count):
            time.sleep(10)
            job.kill()
            job.start()
        free = os.statvfs(folder)
        notes = f"{free.f_bavail * free.f_bsize} bytes were free at the end"
        return count, notes, scene.finish([job])
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def corruption(suite, count):
    """Files of the history are changed, cut, removed, made older, or another topic's, between restarts."""
    scene = Scene(suite, "corruption", flush="300ms").start()
    job = scene.job().start()
    done = Counter()
    time.sleep(6)
    while sum(done.values()) < count:
        job.kill()
        history = scene.folder / "history"
        files = sorted(history.rglob("*.parquet"))
        older = [path.read_bytes() for path in files[:3]]
        for path in scene.random.sample(files, min(len(files), 40)):
            done[damage(scene.random, path, files, older)] += 1
        job.start()
        time.sleep(3)
    notes = ", ".join(f"{what} {times}" for what, times in sorted(done.items()))
    return sum(done.values()), notes, scene.finish([job])


def damage(random, path, files, older):
    """One random mutation of a file; what it was."""
    if not path.exists():
        return "gone already"
    data = bytearray(path.read_bytes())
    kind = random.choice(["bytes changed", "truncated", "removed", "older", "another place's", "extended"])
    if kind == "bytes changed":
        for _ in range(random.randrange(1, 8)):
            data[random.randrange(len(data))] ^= random.randrange(1, 256)
    elif kind == "truncated":
        del data[random.randrange(len(data)):]
    elif kind == "older":
        data = bytearray(random.choice(older))
    elif kind == "extended":
        data += bytes(random.randrange(1, 100))
    elif kind == "another place's":
        other = random.choice([f for f in files if f.parent != path.parent and f.exists()] or [path])
        (path.parent / other.name).write_bytes(other.read_bytes())
        return kind
    if kind == "removed":
        path.unlink()
    else:
        path.write_bytes(data)
    return kind


def instances(suite, count):
    """Two or three instances of one job join and leave, politely or not."""
    scene = Scene(suite, "instances", instances=3, rules=suite.keyed_rules()).start()
    jobs = {name: scene.job(name) for name in "abc"}
    jobs["a"].start()
    changes = Counter()
    time.sleep(4)
    for _ in range(count):
        name = scene.random.choice("abc")
        job = jobs[name]
        others = any(other.running() for key, other in jobs.items() if key != name)
        if not job.running():
            job.start()
            changes["joined"] += 1
        elif others and scene.random.random() < 0.5:
            job.stop()
            changes["left"] += 1
        elif others:
            job.kill()
            changes["killed"] += 1
        time.sleep(scene.random.uniform(2, 5))
    running = [job for job in jobs.values() if job.running()] or [jobs["a"]]
    notes = ", ".join(f"{what} {times}" for what, times in sorted(changes.items()))
    return count, notes, scene.finish(running)


def clock(suite, count):
    """The host's clock jumps both ways while the job runs."""
    library = next(Path("/usr/lib").rglob("libfaketime.so.1"), None)
    if library is None:
        return 0, "skipped: libfaketime is not here (Debian: apt-get install faketime)", None
    scene = Scene(suite, "clock").start()
    stamp = scene.folder / "faketime"
    stamp.write_text("+0")
    waits = scene.folder / "waits.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", waits, Path(__file__).with_name("waits.c")], check=True)
    wrapper = ["env", f"LD_PRELOAD={waits} {library}", f"FAKETIME_TIMESTAMP_FILE={stamp}", "FAKETIME_NO_CACHE=1",
               "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    job = scene.job(wrapper=wrapper).start()
    jumps = []
    for _ in range(count):
        time.sleep(3)
        jumps.append(scene.random.choice(["-2h", "+3h", "-1d", "+0", "+10m"]))
        stamp.write_text(jumps[-1])
    # More than an hour ahead of the broker nothing is taken: what waits for the clock must come then.
    stamp.write_text("+0")
    return count, f"jumps: {jumps}", scene.finish([job])


def soak(suite, count):
    """A fault a minute, of any kind, for as many minutes: lag back to nothing after each, memory flat."""
    proxy, scene, job = through_proxy(suite, "soak", flush="2s")
    job.start()
    time.sleep(10)
    kinds, resident, behind, codes = Counter(), [], [], []
    for _ in range(count):
        began = time.monotonic()
        kind = scene.random.choice(["killed", "stopped", "network cut", "commit cut", "broker killed", "history damaged"])
        kinds[kind] += 1
        codes += hurt(suite, scene, proxy, job, kind)
        healed = time.monotonic()
        reached = scene.caught_up(50)
        behind.append(time.monotonic() - healed if reached else float("inf"))
        codes += supervise(job, max(1, 60 - (time.monotonic() - began)))
        resident.append(job.resident())
    verdict = scene.finish([job])
    proxy.stop()
    tenth = max(1, len(resident) // 10)
    first, last = max(resident[:2 * tenth]), max(resident[-2 * tenth:])
    if last > 1.3 * first + 32:
        verdict.wrong.append(f"memory grew from {first} to {last} MiB")
    verdict.wrong += [f"lag did not come back to nothing after fault {n}" for n, s in enumerate(behind) if s > 50]
    notes = (f"{', '.join(f'{kind} {times}' for kind, times in sorted(kinds.items()))}; {scene.rate} records a second; "
             f"answered up to the end of the topic again after at most {max(behind):.1f} s, median {median(behind):.1f} s; "
             f"resident memory at most {first} MiB in the first fifth, {last} MiB in the last; exit codes on the way: {codes}")
    return count, notes, verdict


def hurt(suite, scene, proxy, job, kind):
    """Does one harm and ends it; exit codes of the job on the way."""
    if kind == "killed":
        job.kill()
        job.start()
    elif kind == "stopped":
        job.pause()
        time.sleep(scene.random.uniform(1, 5))
        job.go_on()
    elif kind == "network cut":
        proxy.block()
        codes = supervise(job, scene.random.uniform(1, 12))
        proxy.unblock()
        return codes
    elif kind == "commit cut":
        proxy.cut_after_commits = 1
    elif kind == "broker killed":
        suite.cluster.node("kill", 1)
        codes = supervise(job, scene.random.uniform(0.2, 3))
        suite.cluster.node("start", 1)
        return codes
    else:
        job.kill()
        files = sorted((scene.folder / "history").rglob("*.parquet"))
        older = [path.read_bytes() for path in files[:3]]
        for path in scene.random.sample(files, min(len(files), 5)):
            damage(scene.random, path, files, older)
        job.start()
    return []


# Name → the fault, how often in CI and in full, and what it is.
FAULTS = {
    "none": (none, 5, 20),
    "kills": (kills, 25, 500),
    "zombies": (zombies, 3, 50),
    "cut-commits": (cut_commits, 5, 100),
    "broker": (broker, 4, 80),
    "one-of-three": (one_of_three, 2, 20),
    "network": (network, 3, 50),
    "disk-full": (disk_full, 1, 20),
    "corruption": (corruption, 200, 2000),
    "instances": (instances, 10, 100),
    "clock": (clock, 4, 20),
    "soak": (soak, 3, 60),
}
