"""systemd's units: verified, hardened, and their commands run behind systemd's own socket activation."""

import os
import re
import shlex
import socket
from pathlib import Path

from tests.support.mail_system import until
from tests.support.service_managers import ManagedInstallation, demand
from tests.system.service_managers.test_other_servers import answers, demand_in_maildrop, give_password

MOST_EXPOSURE = 2.0
MOST_EXPOSURE_OF_MTA = 3.5
# Units that must be able to change users: by themselves, or by the setuid bit of a password checker.
MOST_EXPOSURE_OF_ROOT, MOST_EXPOSURE_OF_CHECKERS = 2.7, 6.3


def command_of(unit: Path) -> list[str]:
    """The words of ExecStart, as systemd understands them."""
    (line,) = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    return shlex.split(line.partition("=")[2].removeprefix("-").replace("$$", "$").replace("%%", "%"))


def capabilities_of(unit: Path) -> str:
    """The capabilities that the unit leaves, as setpriv wants them."""
    (line,) = [line for line in unit.read_text().splitlines() if line.startswith("CapabilityBoundingSet=")]
    return ",".join(["-all", *(name.lower().replace("cap_", "+") for name in line.partition("=")[2].split())])


def test_the_units_are_clean_and_hardened(installation: ManagedInstallation) -> None:
    demand("systemd-analyze")
    both = ("--service", "mta", "--service", "smtp")
    installation.generate("systemd", *both, ipv6="yes")
    installation.generate("systemd", "--service", "smtp", "--service", "qmtp", listener="socket")
    units = sorted((installation.folder / "systemd").iterdir())
    assert [unit.name for unit in units] == [
        *("eqmail-qmtpd.socket", "eqmail-qmtpd@.service", "eqmail-smtp.socket", "eqmail-smtpd.socket"),
        *("eqmail-smtpd@.service", "eqmail.service"),
    ]
    assert installation.run("systemd-analyze", "verify", "--man=no", *units) == ""
    for unit in units:
        if unit.suffix == ".service":
            demand_exposure(
                installation, unit, MOST_EXPOSURE_OF_MTA if unit.name == "eqmail.service" else MOST_EXPOSURE
            )


def demand_exposure(installation: ManagedInstallation, unit: Path, most: float) -> None:
    """What the unit could still do, as systemd rates it, is at most this."""
    output = installation.run("systemd-analyze", "security", "--offline=yes", "--no-pager", unit)
    exposure = re.search(r"Overall exposure level for .*: ([0-9.]+)", output)
    assert exposure, output
    assert float(exposure[1]) <= most, output


def test_units_for_logins_keep_what_their_password_checkers_need(installation: ManagedInstallation) -> None:
    demand("systemd-analyze")
    give_password(installation)
    services = ("--service", "submission", "--service", "pop3")
    installation.generate("systemd", *services, listener="socket")
    folder = installation.folder / "systemd"
    submission = folder / "eqmail-submission@.service"
    demand_exposure(installation, submission, MOST_EXPOSURE_OF_CHECKERS)
    demand_exposure(installation, folder / "eqmail-pop3d@.service", MOST_EXPOSURE_OF_ROOT)
    assert "NoNewPrivileges" not in submission.read_text()
    # Without a setuid program, a unit needs no more than a server without passwords.
    own = f"{installation.home}/bin/qmail-chkpw /bin/true"
    installation.generate("systemd", *services, **{"listener": "socket", "submission.checkpassword": own})
    demand_exposure(installation, submission, MOST_EXPOSURE)
    assert installation.run("systemd-analyze", "verify", "--man=no", *sorted(folder.iterdir())) == ""


def test_the_unit_of_pop3_keeps_the_capabilities_that_it_needs(installation: ManagedInstallation) -> None:
    demand("systemd-socket-activate", "setpriv", "curl")
    give_password(installation)
    installation.generate("systemd", "--service", "pop3", listener="socket")
    unit = installation.folder / "systemd/eqmail-pop3d@.service"
    (installation.maildir / "new/1.for-pop3").write_text("Subject: capable\n\ntext\n")
    os.chown(installation.maildir / "new/1.for-pop3", 65534, 65534)
    limits = ("--no-new-privs", f"--bounding-set={capabilities_of(unit)}", "--inh-caps=-all")
    listening = ("systemd-socket-activate", "--accept", "--inetd", "-l", f"127.0.0.1:{installation.port}")
    process = installation.start("setpriv", *limits, *listening, *command_of(unit))
    until(lambda: answers(installation.port), f"the port{installation.logs()}")
    demand_in_maildrop(installation, installation.port, "Subject: capable")
    process.terminate()
    process.wait(60)


def test_the_mta_takes_the_socket_and_notifies_readiness(installation: ManagedInstallation) -> None:
    demand("systemd-socket-activate", "setpriv", "unshare", "swaks")
    installation.generate("systemd", address="127.0.0.1", port=installation.port)
    unit = installation.folder / "systemd/eqmail.service"
    # What the unit takes away that can be taken away without systemd.
    sealed = "for folder in /usr /etc; do mount --bind $folder $folder; mount -o remount,bind,ro $folder; done"
    command = ["sh", "-c", f'{sealed}; exec setpriv --bounding-set={capabilities_of(unit)} "$@"', "sh"]
    command += command_of(unit)
    address = str(installation.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(60)
        # Starts the command at the first connection, which waits in the backlog meanwhile.
        variables = (f"NOTIFY_SOCKET={address}", "WATCHDOG_USEC=1000000", f"PATH={installation.home}/bin:/usr/bin:/bin")
        setting = [word for variable in variables for word in ("-E", variable)]
        process = installation.start(
            *(
                "unshare",
                "--mount",
                "systemd-socket-activate",
                "-l",
                f"127.0.0.1:{installation.port}",
                *setting,
                *command,
            )
        )
        until(installation.greeting, f"a greeting{installation.logs()}", 60)
        installation.demand_greeting()
        while (output := manager.recv(200)).startswith(b"EXTEND_TIMEOUT_USEC="):
            pass
        assert output == b"READY=1\nMAINPID=%d" % process.pid
        assert manager.recv(200) == b"WATCHDOG=1"
        assert manager.recv(200) == b"WATCHDOG=1"
        installation.demand_delivery()
        process.terminate()
        output = b""
        while not output.startswith(b"STOPPING=1"):
            output = manager.recv(200)
        assert process.wait(60) == 0
    installation.demand_silence()


def test_a_socket_unit_serves_each_connection_with_a_process_of_its_own(installation: ManagedInstallation) -> None:
    demand("systemd-socket-activate", "start-stop-daemon", "swaks")
    installation.generate("init", pidfile=installation.folder / "qmail.pid")
    installation.run(installation.folder / "init/qmail", "start")
    installation.generate(
        "systemd", "--service", "smtp", listener="socket", address="127.0.0.1", port=installation.port
    )
    command = command_of(installation.folder / "systemd/eqmail-smtpd@.service")
    process = installation.start(
        *("setpriv", "--reuid=qmaild", "--regid=nofiles", "--clear-groups", "--no-new-privs", "--bounding-set=-all"),
        *("systemd-socket-activate", "--accept", "--inetd", "-l", f"127.0.0.1:{installation.port}", *command),
    )
    installation.demand_greeting()
    assert "127.0.0.1" in installation.demand_delivery()
    process.terminate()
    process.wait(60)
    installation.run(installation.folder / "init/qmail", "stop")
    installation.demand_silence()
