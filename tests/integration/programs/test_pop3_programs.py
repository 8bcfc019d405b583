"""qmail-popup, qmail-pop3d and qmail-chkpw together, and each in its corners."""

import hmac
import os
import subprocess
from hashlib import md5
from pathlib import Path

import pytest

from tests.support.programs import Home

AN_HOUR_AGO = 3600


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    (tmp_path / "users").mkdir()
    for folder in ("tmp", "new", "cur"):
        (tmp_path / "Maildir" / folder).mkdir(parents=True)
    return home


def put(home: Home, name: str, text: bytes, age_s: int = AN_HOUR_AGO) -> Path:
    path = home.path / "Maildir" / name
    path.write_bytes(text)
    when = path.stat().st_mtime - age_s
    os.utime(path, (when, when))
    return path


def users(home: Home, *lines: str) -> None:
    (home.path / "users/smtpauth").write_text("\n".join(lines) + "\n")


def crypt_string(home: Home, password: str) -> str:
    done = subprocess.run(
        [home.install("qmail_chkpw"), "-r"], input=password.encode() + b"\n", capture_output=True, check=True
    )
    assert not done.stdout
    return done.stderr.decode().strip()


def check(home: Home, credentials: bytes, *words: str) -> tuple[int, bytes]:
    command = ["/bin/sh", "-c", 'exec "$@" 3<&0', "sh", home.install("qmail_chkpw"), *words]
    done = subprocess.run(command, input=credentials, capture_output=True, check=False)
    assert b"secret" not in done.stderr
    return done.returncode, done.stdout


def pop3d(home: Home, *commands: str) -> list[bytes]:
    """The lines that qmail-pop3d answers."""
    done = home.run(
        "qmail_pop3d", str(home.path / "Maildir"), stdin="".join(f"{line}\r\n" for line in commands).encode()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(b"\r\n")[:-1]


def test_passwords_are_checked_against_crypt_strings(home: Home) -> None:
    users(home, "# who", f"joe:{crypt_string(home, 'secret')}", "joe:other")
    assert check(home, b"joe\0secret\0\0") == (0, b"")
    assert check(home, b"joe\0secret\0\0", "/bin/sh", "-c", "echo $USER") == (0, b"joe\n")
    assert check(home, b"joe\0secret\0\0", "/bin/sh", "-c", "exit 7") == (7, b"")
    assert check(home, b"joe\0Secret\0\0") == (1, b"")
    assert check(home, b"joe\0other\0\0") == (1, b"")
    assert check(home, b"ann\0secret\0\0", "/bin/echo") == (1, b"")


def test_digests_are_checked_against_clear_secrets(home: Home) -> None:
    users(home, "ann:secret")
    cram = hmac.new(b"secret", b"<1.2@x>", "md5").hexdigest()
    apop = md5(b"<1.2@x>secret").hexdigest()
    for digest in (cram, cram.upper(), apop):
        assert check(home, b"ann\0%b\0<1.2@x>\0" % digest.encode()) == (0, b"")
        assert check(home, b"ann\0%b\0<1.3@x>\0" % digest.encode()) == (1, b"")
        assert check(home, b"ann\0%b\0\0" % digest.encode()) == (1, b"")


def test_a_clear_secret_is_a_password_too(home: Home) -> None:
    users(home, "ann:secret")
    assert check(home, b"ann\0secret\0\0") == (0, b"")
    assert check(home, b"ann\0Secret\0\0") == (1, b"")


def test_a_stolen_crypt_string_is_no_password(home: Home) -> None:
    stolen = crypt_string(home, "secret")
    users(home, f"joe:{stolen}")
    digest = hmac.new(stolen.encode(), b"<1.2@x>", "md5").hexdigest()
    assert check(home, b"joe\0%b\0<1.2@x>\0" % digest.encode()) == (1, b"")
    assert check(home, b"joe\0%b\0\0" % stolen.encode()) == (1, b"")


@pytest.mark.parametrize("credentials", [b"", b"joe", b"joe\0secret", b"joe\0" + b"s" * 600 + b"\0\0"])
def test_malformed_credentials_are_misuse(home: Home, credentials: bytes) -> None:
    users(home, "joe:secret")
    assert check(home, credentials) == (2, b"")


def test_without_the_file_the_failure_is_temporary(home: Home) -> None:
    assert check(home, b"joe\0secret\0\0")[0] == 111


def test_a_session_from_greeting_to_update(home: Home) -> None:
    users(home, f"joe:{crypt_string(home, 'secret')}")
    put(home, "new/1.a.b", b"Subject: x\n\n.dot\nlast")
    put(home, "cur/0.a.b:2,S", b"Subject: y\n\nold\n", 2 * AN_HOUR_AGO)
    put(home, "new/2.a.b", b"too young", -AN_HOUR_AGO)
    output = b"USER joe\r\nPASS secret\r\nSTAT\r\nUIDL\r\nRETR 2\r\nDELE 1\r\nQUIT\r\n"
    done = home.run(
        "qmail_popup", "mx.test", home.install("qmail_chkpw"), home.install("qmail_pop3d"), "../Maildir", stdin=output
    )
    lines = done.stdout.split(b"\r\n")
    assert lines[0].startswith(b"+OK <")
    assert lines[0].endswith(b"@mx.test>")
    assert lines[1:] == [
        *[b"+OK ", b"+OK "],
        *[b"+OK 2 37", b"+OK ", b"1 0.a.b", b"2 1.a.b", b"."],
        *[b"+OK ", b"Subject: x", b"", b"..dot", b"last", b"", b"."],
        *[b"+OK ", b"+OK ", b""],
    ]
    assert done.returncode == 1
    left = sorted(str(path.relative_to(home.path / "Maildir")) for path in home.path.glob("Maildir/*/*"))
    assert left == ["cur/1.a.b:2,", "new/2.a.b"]


def test_a_failed_login_gets_an_error_and_ends(home: Home) -> None:
    users(home, "joe:x")
    output = b"USER joe\r\nPASS secret\r\nSTAT\r\n"
    done = home.run("qmail_popup", "mx.test", home.install("qmail_chkpw"), "/bin/true", stdin=output)
    assert done.stdout.split(b"\r\n")[1:] == [b"+OK ", b"-ERR authorization failed", b""]
    broken = home.path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    done = home.run("qmail_popup", "mx.test", str(broken), stdin=output)
    assert done.stdout.split(b"\r\n")[1:] == [b"+OK ", b"-ERR unable to fork", b""]
    assert done.stderr == b"alert: unable to run %b: file does not exist\n" % str(broken).encode()
    done = home.run("qmail_popup", "mx.test", "/bin/sh", "-c", "kill $$", stdin=output)
    assert done.stdout.split(b"\r\n")[1:] == [b"+OK ", b"-ERR aack, child crashed", b""]


def test_the_checker_gets_three_fields_and_the_rest_of_the_input(home: Home) -> None:
    out = home.path / "seen"
    done = home.run(
        "qmail_popup", "mx.test", "/bin/sh", "-c", f"cat <&3 >{out}; cat", stdin=b"USER joe\r\nPASS p w\r\nSTAT\r\n"
    )
    lines = done.stdout.split(b"\r\n")
    assert out.read_bytes() == b"joe\0p w\0" + lines[0].removeprefix(b"+OK ") + b"\0"
    assert lines[2:] == [b"STAT", b""]


def test_nothing_is_removed_without_quit(home: Home) -> None:
    kept = put(home, "new/1.a.b", b"x\n")
    assert pop3d(home, "DELE 1") == [b"+OK ", b"+OK "]
    assert kept.exists()


def test_a_missing_message_is_refused_and_its_deletion_is_no_error(home: Home) -> None:
    gone, stays = put(home, "new/1.a.b", b"x\n"), put(home, "new/2.a.b", b"y\n")
    gone.unlink()
    gone.symlink_to(stays)
    stays.chmod(0o600)
    command = [home.install("qmail_pop3d"), "Maildir"]
    with subprocess.Popen(command, cwd=home.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"+OK \r\n"
        stays.unlink()
        gone.unlink()
        output, _ = process.communicate(b"RETR 1\nDELE 1\nQUIT\n")
    assert output == b"-ERR unable to open that message\r\n+OK \r\n+OK \r\n"


def test_a_user_without_maildir_gets_an_error(home: Home) -> None:
    assert home.run("qmail_pop3d", "nowhere").stdout == b"-ERR this user has no $HOME/Maildir\r\n"
    (home.path / "Maildir/new").rmdir()
    assert pop3d(home) == [b"-ERR unable to scan $HOME/Maildir"]


@pytest.mark.parametrize("checker", ["no-such-checker", "/no/such/checker"])
def test_without_a_password_checker_clients_are_refused_and_the_log_names_it(home: Home, checker: str) -> None:
    done = home.run("qmail_popup", "pop.test", checker, "qmail-pop3d", "Maildir", stdin=b"USER joe\r\nPASS x\r\n")
    assert done.stdout == b"-ERR no program checks passwords here\r\n"
    assert f"qmail-popup: alert: {checker}: no such program checks passwords" in done.stderr.decode()
