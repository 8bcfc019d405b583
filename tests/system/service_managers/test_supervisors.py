"""daemontools, runit and s6 keep the mail system running from their service folders, with tcpserver or without."""

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.mail_system import until
from tests.support.service_managers import ManagedInstallation, demand

Command = Callable[[str], tuple[str, ...]]


class Supervisor(NamedTuple):
    """The commands of one supervisor; each gets a folder: that of all services, or that of one."""

    needs: tuple[str, ...]
    scan: Command
    up: Command
    down: Command
    reload: Command
    pause: Command
    go_on: Command
    status: Command
    running: str
    finish: Command


SUPERVISORS = {
    "daemontools": Supervisor(
        needs=("svscan", "supervise", "svc", "multilog", "envdir", "softlimit", "setuidgid"),
        scan=lambda folder: ("svscan", folder),
        up=lambda folder: ("svc", "-u", folder),
        down=lambda folder: ("svc", "-d", folder),
        reload=lambda folder: ("svc", "-h", folder),
        pause=lambda folder: ("svc", "-p", folder),
        go_on=lambda folder: ("svc", "-c", folder),
        status=lambda folder: ("svstat", folder),
        running=": up (pid",
        finish=lambda folder: ("svc", "-dx", folder, f"{folder}/log"),
    ),
    "runit": Supervisor(
        needs=("runsvdir", "runsv", "sv", "svlogd", "chpst"),
        scan=lambda folder: ("runsvdir", folder),
        up=lambda folder: ("sv", "-w", "60", "start", folder),
        down=lambda folder: ("sv", "-w", "60", "stop", folder),
        reload=lambda folder: ("sv", "hup", folder),
        pause=lambda folder: ("sv", "pause", folder),
        go_on=lambda folder: ("sv", "cont", folder),
        status=lambda folder: ("sv", "status", folder),
        running="run: ",
        finish=lambda folder: ("sv", "-w", "60", "exit", folder),
    ),
    "s6": Supervisor(
        needs=("s6-svscan", "s6-supervise", "s6-svc", "s6-log", "s6-envdir", "s6-softlimit", "s6-setuidgid"),
        scan=lambda folder: ("s6-svscan", folder),
        up=lambda folder: ("s6-svc", "-wu", "-u", folder),
        down=lambda folder: ("s6-svc", "-wd", "-d", folder),
        reload=lambda folder: ("s6-svc", "-h", folder),
        pause=lambda folder: ("s6-svc", "-p", folder),
        go_on=lambda folder: ("s6-svc", "-c", folder),
        status=lambda folder: ("s6-svstat", folder),
        running="up (pid",
        finish=lambda folder: ("s6-svc", "-wD", "-dx", folder),
    ),
}


def demand_logs(logs: Path, services: Iterable[str]) -> None:
    """Every service has logged something."""
    for service in services:
        current = logs / service / "current"
        until(lambda current=current: current.exists() and current.read_text(), f"a log in {current}")  # type: ignore[misc]


def end(
    installation: ManagedInstallation, name: str, manager: "subprocess.Popen[bytes]", folders: Sequence[str]
) -> None:
    """End the supervisor and the services of these folders permanently."""
    manager.kill()
    manager.wait()
    for folder in reversed(folders):
        installation.run(*SUPERVISORS[name].finish(folder))
    if name == "s6":
        for folder in folders:
            installation.run("s6-svc", "-x", f"{folder}/log")


@pytest.mark.parametrize("listener", ["tcpserver", "resident"])
@pytest.mark.parametrize("name", SUPERVISORS)
def test_a_supervisor_keeps_the_mail_system_running(
    name: str, listener: str, installation: ManagedInstallation
) -> None:
    supervisor = SUPERVISORS[name]
    demand(*supervisor.needs, "tcpserver", "swaks")
    logs = installation.folder / "log"
    installation.generate(name, listener=listener, address="127.0.0.1", port=installation.port, logdir=logs)
    services = ["qmail-send", "qmail-smtpd"] if listener == "tcpserver" else ["qmail-send"]
    scanned = installation.folder / "scan"
    scanned.mkdir()
    assert sorted(path.name for path in (installation.folder / name).iterdir()) == services
    for service in services:
        (scanned / service).symlink_to(installation.folder / name / service)
    manager = installation.start(*supervisor.scan(str(scanned)))
    installation.demand_services()
    installation.demand_greeting()
    text = installation.demand_delivery()
    assert "127.0.0.1" in text
    accounts = installation.accounts()
    assert {
        "qmail-clean": "qmailq",
        "qmail-send": "qmails",
        "qmail-rspawn": "qmailr",
        "qmail-lspawn": "root",
    }.items() <= (accounts.items())
    server = {"tcpserver": "tcpserver", "resident": "qmail-smtpd"}[listener]
    assert accounts[server] == "qmaild"
    loggers = {"multilog", "svlogd", "s6-log"} & set(accounts)
    assert [accounts[logger] for logger in loggers] == ["qmaill"]
    demand_logs(logs, services)
    assert "starting delivery" in (logs / "qmail-send/current").read_text()

    send = str(scanned / "qmail-send")
    assert supervisor.running in installation.run(*supervisor.status(send))
    installation.run(*supervisor.reload(send))

    installation.run(*supervisor.pause(send))
    time.sleep(1.1)
    mark = installation.hand_in()
    until(lambda: "no delivery starts" in (logs / "qmail-send/current").read_text(), f"a pause{installation.logs()}")
    assert not any(mark in text for text in installation.inbox())
    installation.run(*supervisor.go_on(send))
    installation.demand_arrival(mark)

    before = set(installation.processes())
    installation.run(*supervisor.down(send))
    until(lambda: supervisor.running not in installation.run(*supervisor.status(send)).partition(";")[0], "an end")
    assert "qmail-send" not in installation.accounts()
    installation.run(*supervisor.up(send))
    installation.demand_services()
    assert set(installation.processes()) != before
    installation.demand_greeting()
    installation.demand_delivery()

    end(installation, name, manager, [str(scanned / service) for service in services])
    installation.demand_silence()


def test_the_variables_of_a_service_are_those_of_its_folder(installation: ManagedInstallation) -> None:
    """A file in env/ beside ours reaches the server: here, it lets an unknown client relay."""
    demand(*SUPERVISORS["daemontools"].needs, "tcpserver", "swaks")
    installation.generate(
        "daemontools", address="127.0.0.1", port=installation.port, logdir=installation.folder / "log"
    )
    service = installation.folder / "daemontools/qmail-smtpd"
    other_process = (
        "swaks",
        "--server",
        f"127.0.0.1:{installation.port}",
        "--quit-after",
        "RCPT",
        "--from",
        "a@b.example",
    )
    process = installation.start("supervise", service)
    installation.demand_greeting()
    assert "553" in installation.run(*other_process, "--to", "c@elsewhere.example", code=24)
    Path(service, "env/RELAYCLIENT").write_text("\n")
    installation.run("svc", "-t", service)
    until(lambda: "RELAYCLIENT" in _environment_of_tcpserver(installation), "the variable")
    installation.demand_greeting()
    installation.run(*other_process, "--to", "c@elsewhere.example")
    installation.run("svc", "-dx", service)
    assert process.wait(60) == 0
    installation.demand_silence()


def _environment_of_tcpserver(installation: ManagedInstallation) -> str:
    for pid in installation.processes():
        try:
            if Path(f"/proc/{pid}/comm").read_text() == "tcpserver\n":
                return Path(f"/proc/{pid}/environ").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ""
