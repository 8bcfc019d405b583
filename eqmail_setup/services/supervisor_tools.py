"""The tools of the three supervisors that share one form of service folders: run, log/run, env.

Source: the manuals of daemontools 0.76, runit 2.1 and s6 2.11.
"""

from typing import NamedTuple


class SupervisorTools(NamedTuple):
    """Words of commands; {name} stands for a value. `scanner` is the process that watches the folder `scanned`, `next`
    what makes it look at once, `up` what starts a service that it supervises already, and that was stopped."""

    environment: tuple[str, ...]
    memory: tuple[str, ...]
    setuidgid_command: tuple[str, ...]
    log: tuple[str, ...]
    folder: str
    scanned: str
    scanner: str
    up: str
    log_config: tuple[str, ...] = ()
    next: tuple[str, ...] = ()


SUPERVISORS = {
    "daemontools": SupervisorTools(
        environment=("envdir", "./env"),
        memory=("softlimit", "-m", "{memory}"),
        setuidgid_command=("setuidgid", "{user}"),
        log=("multilog", "t", "s{size}", "n{count}", "{logs}"),
        folder="{home}/supervise",
        scanned="/etc/service",
        scanner="svscan",
        up="svc -u {service}",
    ),
    "runit": SupervisorTools(
        environment=("chpst", "-e", "./env"),
        memory=("chpst", "-m", "{memory}"),
        setuidgid_command=("chpst", "-u", "{user}:{group}"),
        log=("svlogd", "-tt", "{logs}"),
        folder="/etc/sv",
        scanned="/etc/service",
        scanner="runsvdir",
        up="sv up {service}",
        log_config=("s{size}", "n{count}"),
    ),
    "s6": SupervisorTools(
        environment=("s6-envdir", "./env"),
        memory=("s6-softlimit", "-m", "{memory}"),
        setuidgid_command=("s6-setuidgid", "{user}"),
        log=("s6-log", "n{count}", "s{size}", "t", "{logs}"),
        folder="/etc/s6/sv",
        scanned="/run/service",
        scanner="s6-svscan",
        up="s6-svc -u {service}",
        next=("s6-svscanctl -a {scanned}",),
    ),
}


def fill(words: tuple[str, ...], **values: object) -> list[str]:
    """The words with their values."""
    return [word.format(**values) for word in words]
