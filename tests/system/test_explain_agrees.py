"""`eqmail explain` agrees with the services: with what SMTP answers, and with what a delivery reports."""

import os
import re
import smtplib
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from eqmail_core.queue.format.send_log import LogLines
from eqmail_core.site.site import Site
from eqmail_core.users.database import assign_path
from eqmail_setup.cli.app import run
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.mail.routing import route_address
from eqmail_setup.mail.smtp_verdict import Client, ask_smtp_server
from tests.support.mail_system import MailSystem, free_port, make_maildir, until

HOSTS = ("mail.example.org", "virt.example", "sub.virt.example", "far.example")
SENDER = "s@far.example"
OUTCOMES = {"success": "K", "deferral": "Z", "failure": "D"}

FILES = {
    "a Maildir": b"./Maildir/\n",
    "a Maildir that is missing": b"./missing/\n",
    "an mbox": b"./box\n",
    "an mbox in a missing folder": b"./none/box\n",
    "the default": b"",
    "a blank line": b"\n",
    "a comment": b"# nothing\n",
    "a program": b"|exit 0\n",
    "two steps": b"./Maildir/\n./missing/\n",
}
LOCALS = ("ann", "ann-list", "ann-list-x", "bob", "Bob", "v-joe", "joe", "ghost", "ann%mail.example.org")
QMAIL_FILES = (".qmail-ann", ".qmail-default", ".qmail-list", ".qmail-list-default", ".qmail-joe", ".qmail")

installations = st.fixed_dictionaries(
    {
        "rcpthosts": st.lists(st.sampled_from([*HOSTS, ".virt.example"]), max_size=3, unique=True),
        "locals": st.lists(st.sampled_from(HOSTS[:2]), min_size=1, max_size=2, unique=True),
        "virtualdomains": st.dictionaries(
            st.sampled_from(HOSTS[1:3]), st.sampled_from(["ann", "v", "ghost"]), max_size=2
        ),
        "percenthack": st.sampled_from([[], ["virt.example"]]),
        "rcptcheck": st.sampled_from([None, "*", "virt.example", "*\n!virt.example"]),
        "badmailfrom": st.sampled_from([None, SENDER, "@far.example", "other@far.example"]),
        "relayclients": st.sampled_from([None, "127.0.0.0/8", "192.0.2.0/24"]),
        "files": st.dictionaries(
            st.tuples(st.sampled_from(["alias", "ann"]), st.sampled_from(QMAIL_FILES)),
            st.tuples(st.sampled_from(sorted(FILES)), st.sampled_from([0o600, 0o600, 0o600, 0o666])),
            max_size=6,
        ),
        "mode": st.sampled_from([0o755, 0o755, 0o755, 0o777, 0o1755]),
        "has_maildir": st.booleans(),
    }
)
addresses = st.lists(
    st.builds("{}@{}".format, st.sampled_from(LOCALS), st.sampled_from(HOSTS)), min_size=4, max_size=8, unique=True
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert run(["--home", str(tmp_path / "home"), "setup", "--single-user"]) == 0
    return tmp_path / "home"


def furnish(home: Path, installation: "dict[str, object]") -> None:
    """Write the settings, users and .qmail files of one random installation."""
    control = home / "control"
    for name in ("rcpthosts", "locals", "percenthack", "rcptcheck", "badmailfrom", "relayclients", "virtualdomains"):
        value = installation[name]
        lines = [f"{key}:{prefix}" for key, prefix in value.items()] if isinstance(value, dict) else value
        (control / name).unlink(missing_ok=True)
        if lines is not None:
            (control / name).write_text("\n".join([lines] if isinstance(lines, str) else lines) + "\n")
    (control / "me").write_text("mail.example.org\n")
    (control / "smtproutes").write_text(f":127.0.0.1:{free_port()}\n")
    ann, uid, gid = home / "ann", os.getuid(), os.getgid()
    subprocess.run(["rm", "-rf", ann, home / "alias/Maildir", *home.glob("alias/.qmail*")], check=True)
    ann.mkdir()
    for folder in (ann, home / "alias"):
        if installation["has_maildir"]:
            make_maildir(folder / "Maildir")
    assign = f"=ann:ann:{uid}:{gid}:{ann}:::\n+ann-:ann:{uid}:{gid}:{ann}:-::\n=bob:ann:{uid}:{gid}:{home}/none:::\n.\n"
    Path(assign_path(site_of(home))).write_text(assign)
    assert run(["--home", str(home), "user", "compile"]) == 0
    files = installation["files"]
    assert isinstance(files, dict)
    for (folder, name), (content, mode) in files.items():
        path = home / folder / name
        path.write_bytes(FILES[content])
        path.chmod(mode)
    ann.chmod(int(str(installation["mode"])))


def site_of(home: Path) -> Site:
    site = load_site(str(home))
    assert site is not None
    return site


def asked(system: MailSystem, recipient: str) -> tuple[bool, str]:
    """What the running server answers to MAIL and RCPT."""
    with smtplib.SMTP("127.0.0.1", system.port, "client.example.net", timeout=60) as client:
        client.ehlo()
        code, text = client.docmd(f"MAIL FROM:<{SENDER}>")
        if code == 250:
            code, text = client.docmd(f"RCPT TO:<{recipient}>")
        return code == 250, f"{code} {text.decode()}"


def delivered(system: MailSystem, recipients: list[str]) -> dict[str, str]:
    """The outcome of a delivery to each address, as the log has installation: by the address as it was routed."""
    start = len(system.log())
    done = system.inject(["-f", SENDER, *recipients], "Subject: x\n\nbody\n")
    assert done.returncode == 0, done.stderr

    def results() -> dict[str, str]:
        log = system.log()[start:]
        messages = set(re.findall(rf"info msg (\d+): bytes \d+ from <{re.escape(SENDER)}>", log))
        starts = re.findall(r"starting delivery (\d+): msg (\d+) to (?:local|remote) (\S+)", log)
        ends = dict(re.findall(r"delivery (\d+): (success|deferral|failure)", log))
        return {to: OUTCOMES[ends[number]] for number, msg, to in starts if msg in messages and number in ends}

    until(lambda: len(results()) >= len(recipients), "a result for each of " + ", ".join(recipients))
    return results()


@given(installation=installations, wanted=addresses)
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_explain_shows_the_reply_of_the_server_and_the_delivery(
    home: Path, installation: dict[str, object], wanted: list[str]
) -> None:
    furnish(home, installation)
    site = site_of(home)
    system = MailSystem(home)
    try:
        client = Client("127.0.0.1", system.port, sender=SENDER)
        for address in wanted:
            verdict = ask_smtp_server(site, address.encode(), client, {})
            assert (verdict.accepted, verdict.reply) == asked(system, address), (address, verdict)
        routes = {address: route_address(site, address.encode(), b"./Maildir/") for address in wanted}
        here = {address: found for address, found in routes.items() if found.channel == "local"}
        said = {LogLines().safe(found.address.encode()).decode(): found.outcome for found in here.values()}
        assert said == delivered(system, list(here))
    finally:
        system.stop()
