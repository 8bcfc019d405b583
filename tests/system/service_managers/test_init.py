"""The init scripts at work: SysV with dpkg's start-stop-daemon, and OpenRC in a mount namespace of its own."""

from pathlib import Path

from tests.support.mail_system import until
from tests.support.service_managers import ManagedInstallation, demand


def test_the_sysv_script_does_all_that_an_init_script_does(installation: ManagedInstallation) -> None:
    demand("start-stop-daemon", "swaks")
    pidfile = installation.folder / "qmail.pid"
    installation.generate(
        "init", "--service", "mta", "--service", "smtp", address="127.0.0.1", port=installation.port, pidfile=pidfile
    )
    script = installation.folder / "init/qmail"
    assert "is not running" in installation.run(script, "status", code=3)
    assert "is not running" in installation.run(script, "stop")
    installation.run(script, "reload", code=7)
    assert "is started" in installation.run(script, "start")
    # The script returns when everything is there, so the first try must do.
    assert installation.greeting().startswith("220 mail.example.org")
    assert f"process {pidfile.read_text().strip()}" in installation.run(script, "status")
    assert "is running already" in installation.run(script, "start")
    text = installation.demand_delivery()
    assert "Received: " in text
    accounts = installation.accounts()
    expected = {"qmail-clean": "qmailq", "qmail-send": "qmails", "qmail-rspawn": "qmailr", "qmail-smtpd": "qmaild"}
    assert expected.items() <= accounts.items()
    assert accounts["qmail-lspawn"] == "root"
    assert accounts["qmail-logger"] == "qmaill" if "qmail-logger" in accounts else accounts["splogger"] == "qmaill"
    assert "reads its settings" in installation.run(script, "reload")
    assert "tries all waiting mail" in installation.run(script, "flush")
    assert "messages in queue: " in installation.run(script, "queue")
    before = pidfile.read_text()
    assert "is started" in installation.run(script, "restart")
    assert pidfile.read_text() != before
    installation.demand_delivery()
    installation.run(script, "nonsense", code=2)
    assert "is stopped" in installation.run(script, "stop")
    assert not pidfile.exists()
    installation.demand_silence()


def test_the_sysv_script_does_not_kill_a_foreign_process_with_a_reused_pid(installation: ManagedInstallation) -> None:
    demand("start-stop-daemon")
    pidfile = installation.folder / "qmail.pid"
    installation.generate("init", pidfile=pidfile)
    script = installation.folder / "init/qmail"
    other_process = installation.start("sleep", "600")
    pidfile.write_text(f"{other_process.pid}\n")
    assert "is dead" in installation.run(script, "status", code=1)
    assert "is not running" in installation.run(script, "stop")
    assert other_process.poll() is None
    other_process.kill()
    other_process.wait()


def test_the_sysv_script_reports_a_failed_start(installation: ManagedInstallation) -> None:
    demand("start-stop-daemon")
    installation.generate("init", pidfile=installation.folder / "qmail.pid")
    lock = installation.home / "queue/journal/lock"
    lock.parent.mkdir(mode=0o700, exist_ok=True)
    lock.unlink(missing_ok=True)
    lock.mkdir()
    try:
        output = installation.run(installation.folder / "init/qmail", "start", code=1)
    finally:
        lock.rmdir()
    assert "qmail-start: fatal: queue: " in output and "Is a directory" in output
    assert "could not be started" in output
    assert not (installation.folder / "qmail.pid").exists()


# What rc-service needs of a booted system, in a namespace that sees only our script in /etc/init.d.
NAMESPACE = """
set -eu
mount --make-rprivate /
mount -t tmpfs none /run/openrc
mount --bind {scripts} /etc/init.d
cd /run/openrc
mkdir daemons exclusive failed hotplugged inactive options scheduled started starting stopping tmp wasinactive
echo default >softlevel
exec sleep 600
"""


def test_openrc_starts_and_stops_the_mail_system(installation: ManagedInstallation) -> None:
    demand("rc-service", "unshare", "nsenter", "swaks")
    Path("/run/openrc").mkdir(exist_ok=True)
    pidfile = installation.folder / "qmail.pid"
    words = ("--flavour", "openrc", "--service", "mta", "--service", "smtp")
    installation.generate("init", *words, address="127.0.0.1", port=installation.port, pidfile=pidfile)
    (installation.folder / "namespace").write_text(NAMESPACE.format(scripts=installation.folder / "init"))
    holder = installation.start("unshare", "--mount", "sh", installation.folder / "namespace")
    until(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n", f"a namespace{installation.logs()}")

    def rc(action: str) -> str:
        return installation.run(
            "nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "rc-service", "--nodeps", "qmail", action
        )

    rc("start")
    installation.demand_greeting()
    installation.demand_delivery()
    assert "status: started" in rc("status")
    rc("reload")
    rc("flush")
    assert "messages in queue: " in rc("queue")
    before = pidfile.read_text()
    rc("restart")
    assert pidfile.read_text() != before
    installation.demand_greeting()
    installation.demand_delivery()
    rc("stop")
    holder.kill()
    holder.wait()
    installation.demand_silence()
