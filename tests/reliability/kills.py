"""SIGKILL at random moments under load: services alone, several, all, the parent, during start and during TERM."""

import random
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from tests.reliability.installation import START_S, STOP_S, Failed, Installation, installed, kill
from tests.reliability.load import Load
from tests.reliability.outcome import outcome
from tests.reliability.report import Report, Row
from tests.reliability.sink import Sink
from tests.support.mail_system import free_port

PAUSE_S = (0.05, 0.9)
KILLED_DURING_START = 0.25
GIVE_UP_S = 300.0


class Killer:
    """Kills processes of an installation; counts what was killed by name, and what was done by kind."""

    def __init__(self, installation: Installation, rng: random.Random) -> None:
        self.killed: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.troubles: list[str] = []
        self._it = installation
        self._rng = rng

    @property
    def count(self) -> int:
        """Processes killed until now."""
        return self.killed.total()

    def step(self) -> None:
        """Do one thing of the table."""
        if not self._it.is_up:
            self.done["start again"] += 1
            self.start()
            return
        action = self._rng.choices(list(ACTIONS), [weight for weight, _ in ACTIONS.values()])[0]
        self.done[action] += 1
        ACTIONS[action][1](self)

    def start(self) -> None:
        """Start until it answers; a quarter of the starts are disturbed.

        A start may fail for as long as services of a killed parent are ending.
        """
        deadline = time.monotonic() + GIVE_UP_S
        while time.monotonic() < deadline:
            if not self._it.is_up:
                self._it.begin()
            if self._rng.random() < KILLED_DURING_START:
                time.sleep(self._rng.random() * 0.5)
                self.done["kill during start"] += 1
                self._kill(*self._some(self._it.processes(), every=self._rng.random() < 0.3))
            if self._it.answers():
                return
            if self._it.is_up:
                self.troubles.append(f"no answer in {START_S:g} s: {self._it.processes()}")
                self._it.kill_all()
            time.sleep(0.2)
        raise Failed("the services do not start any more:\n" + self._it.log()[-2000:])

    def one(self) -> None:
        """One process of a random kind, whatever the number of that kind."""
        by_name = defaultdict(list)
        for pid, name in self._services().items():
            by_name[name].append(pid)
        if by_name:
            self._kill(self._rng.choice(by_name[self._rng.choice(sorted(by_name))]))

    def several(self) -> None:
        """Two to four services at the same moment."""
        pids = list(self._services())
        self._kill(*self._rng.sample(pids, min(len(pids), self._rng.randrange(2, 5))))

    def everything(self) -> None:
        """All processes, in any order, as a power cut that keeps what the kernel has."""
        pids = list(self._it.processes())
        self._rng.shuffle(pids)
        self._kill(*pids)
        self.killed["late"] += self._it.kill_all()
        self.start()

    def parent(self) -> None:
        """The parent alone; it is started again while its children may still be there."""
        self._kill(self._it.pid)
        self._it.reap()
        time.sleep(self._rng.choice([0, 0, 0.05, 0.5]))
        self.start()

    def terminate(self) -> None:
        """TERM, and in most cases a kill while the services are ending."""
        assert self._it.process is not None
        self._it.process.terminate()
        time.sleep(self._rng.choice([0.3, 2.0]) * self._rng.random())
        fate = self._rng.random()
        if self._it.is_up and fate < 0.7:
            self.done["kill during TERM"] += 1
            self._kill(*self._some(self._it.processes(), every=fate > 0.4))
        try:
            self._it.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.troubles.append(f"TERM did not end it in {STOP_S:g} s: {self._it.processes()}")
            self._it.kill_all()
        self.start()

    def retry(self) -> None:
        """ALRM: deferred mail is tried, so that deferrals and bounces go on all the time."""
        self._it.signal(signal.SIGALRM)

    def _services(self) -> dict[int, str]:
        return {pid: name for pid, name in self._it.processes().items() if pid != self._it.pid}

    def _some(self, processes: dict[int, str], every: bool) -> list[int]:
        pids = list(processes)
        return pids if every else pids and [self._rng.choice(pids)]

    def _kill(self, *pids: int) -> None:
        names = self._it.processes()
        for pid in pids:
            if kill(pid):
                self.killed[names.get(pid, "gone")] += 1


ACTIONS: dict[str, tuple[int, Callable[[Killer], None]]] = {
    "one": (55, Killer.one),
    "several": (14, Killer.several),
    "all": (10, Killer.everything),
    "the parent": (3, Killer.parent),
    "TERM": (10, Killer.terminate),
    "retry": (8, Killer.retry),
}
"""What is done, and how often in a hundred."""


def run(folder: Path, seed: int, kills: int) -> Report:
    """Kill so many processes under load, drain, stop, and look."""
    rng = random.Random(seed)
    with Sink(free_port(), seed) as sink, installed(folder / "kills", sink.port) as installation:
        installation.start()
        killer = Killer(installation, rng)
        load = Load(installation.home, installation.port, seed)
        with load:
            while killer.count < kills:
                time.sleep(rng.uniform(*PAUSE_S))
                killer.step()
        findings = outcome(installation, sink, load.sent)
        findings.troubles += killer.troubles
    figures = {"kills": killer.count, "stops": killer.done["TERM"]}
    notes = [
        "killed: " + ", ".join(f"{name} {count}" for name, count in sorted(killer.killed.items())),
        "done: " + ", ".join(f"{name} {count}" for name, count in sorted(killer.done.items())),
    ]
    return Report("kill", seed, [Row("services", findings, figures)], notes)
