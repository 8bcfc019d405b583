"""The recorded service files: which flavour, services and settings make which folder of tests/data/templates.

`python -m tests.support.service_file_cases` records them again.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from eqmail_core.site.site import Site
from eqmail_setup.services.compose import compose
from eqmail_setup.services.definitions import SERVICES, missing_programs
from eqmail_setup.services.managers import MANAGERS, ServiceFile
from eqmail_setup.services.manifest import content
from eqmail_setup.services.options import ServiceOptions

RECORDED = Path(__file__).parents[1] / "data/templates"
HOME = "/srv/qmail"
SERVERS = ("smtp", "smtps", "submission", "qmtp", "pop3")


class Case(NamedTuple):
    """One folder of recorded files."""

    manager: str
    services: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()


CASES = {
    "xinetd": Case("xinetd"),
    "xinetd-all": Case("xinetd", SERVERS, ("ipv6=yes", "only_from=10.0.0.0/8 ::1", "smtp.relay=yes", "name=inside")),
    "sysv": Case("sysv"),
    "sysv-smtp": Case("sysv", ("mta", "smtp", "submission"), ("delivery=|preline 'it'\n./Maildir/", "ipv6=yes")),
    "openrc": Case("openrc"),
    "openrc-smtp": Case("openrc", ("mta", "smtp"), ("address=::1", "logger=logger -t 'the mail'")),
    "daemontools": Case("daemontools"),
    "daemontools-resident": Case("daemontools", ("mta", "smtp", "submission", "smtps"), ("listener=resident",)),
    "runit": Case("runit", (), ("memory=0", "delivery=./Maildir/")),
    "runit-all": Case("runit", ("mta", *SERVERS), ("ipv6=yes", "tcpserver=tcpserver -h", "concurrency=7")),
    "s6": Case("s6"),
    "systemd": Case("systemd", ("mta", "smtp", "submission", "smtps"), ("ipv6=yes",)),
    "systemd-delivery": Case("systemd", ("mta",), ('delivery=|echo "$SENDER" 100%\n./Maildir/',)),
    "systemd-socket": Case("systemd", SERVERS, ("listener=socket", "address=::1")),
    "systemd-logins": Case(
        "systemd", ("submission",), ("listener=socket", "checkpassword=/srv/qmail/bin/qmail-chkpw /bin/true")
    ),
}


def site_in(root: Path, single_user: bool = False) -> Site:
    """A site below `root` where every program and file that a service can need is there."""
    site = Site(home=HOME, single_user=single_user)
    for offer in SERVICES.values():
        for path in missing_programs(offer, site, str(root)):
            where = root / path.lstrip("/")
            where.parent.mkdir(parents=True, exist_ok=True)
            where.touch()
    return site


def pieces_of(case: Case, root: Path, single_user: bool = False) -> list[ServiceFile]:
    """The files of a case."""
    options = ServiceOptions(case.pairs, tuple(SERVICES))
    return compose(MANAGERS[case.manager], site_in(root, single_user), options, case.services, str(root))


def texts_of(case: Case, root: Path, single_user: bool = False) -> dict[str, bytes]:
    """The text of every file, by its place below the folder of the case."""
    return {
        piece.short or piece.path.lstrip("/"): content(piece, "")
        for piece in pieces_of(case, root, single_user)
        if piece.template
    }


def recorded() -> Iterator[Path]:
    """Every recorded file."""
    return (path for folder in RECORDED.iterdir() if folder.is_dir() for path in folder.rglob("*") if path.is_file())


def record() -> None:
    """Write all recordings again."""
    for path in RECORDED.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    with tempfile.TemporaryDirectory() as root:
        for name, case in CASES.items():
            for place, text in texts_of(case, Path(root)).items():
                path = RECORDED / name / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text)


if __name__ == "__main__":
    sys.exit(record())
