"""Other people's mail servers, started for a test: Postfix, Exim and OpenSMTPD, unpacked and not installed.

Each runs in a mount namespace of its own, where the paths and accounts that are built into it are private folders and
files: nothing of it is left on the machine but the unpacked packages in CACHE.  Each serves 127.0.0.1 with STARTTLS,
implicit TLS and AUTH, keeps the mail for its own domain, and relays the rest to the relay of the test.

Fails: AssertionError, with the output of the server or the package manager.
Long because each server has its own words for the same things.
"""

import fcntl
import os
import shutil
import signal
import smtplib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.support.mail_system import free_port, until
from tests.support.requirements import demand_namespaces, lack

PACKAGES = tuple(
    """
    postfix exim4-daemon-light opensmtpd sasl2-bin nsd unbound clamav-daemon clamav-milter openbsd-inetd haproxy
    ucspi-tcp-ipv6
    """.split()
)
"""Debian packages that are unpacked; the libraries that they need are in tests/packages.debian."""

CACHE = Path("/var/tmp/eqmail-foreign")

USER, PASSWORD = "peer", "open sesame"
"""Who may relay through a foreign server after AUTH; the mechanisms are PLAIN and LOGIN at least."""

PRIVATELY = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")

_ATTEMPTS = 4
ACCOUNTS = {"postfix": 64001, "postdrop": 64002, "Debian-exim": 64003, "opensmtpd": 64004, "opensmtpq": 64005}
MAIL_OWNER, MAIL_UID = "peermail", 64006


@dataclass(frozen=True)
class Relay:
    """Where a foreign server sends what is not for itself; `tls` demands it, `user` and `password` are for AUTH.

    `tls_first`: TLS from the first byte, as on port 465.
    """

    port: int
    tls: bool = False
    user: str = ""
    password: str = ""
    tls_first: bool = False


@dataclass
class ForeignServer:
    """A running server: NAME.test is its domain; `port` offers STARTTLS if it may, `tls_port` is TLS from the start."""

    name: str
    relay: Relay | None = None
    offers_tls: bool = True
    open_relay: bool = False
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    folder: Path = Path()
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def domain(self) -> str:
        return f"{self.name}.test"

    @property
    def binaries(self) -> Path:
        return unpacked(PACKAGE_OF[self.name])

    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"eqmail-{self.name}-", dir="/tmp"))
        self.folder.chmod(0o755)
        (self.folder / "mail").mkdir()
        for part in ("tmp", "new", "cur"):
            (self.folder / "mail" / part).mkdir()
        authority = trustme.CA()
        # OpenSMTPD's process for keys knows RSA alone.
        certificate = authority.issue_cert(self.domain, "127.0.0.1", key_type=trustme.KeyType.RSA)
        certificate.private_key_pem.write_to_path(self.folder / "key.pem")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(self.folder / "cert.pem", append=True)
        authority.cert_pem.write_to_path(self.folder / "authority.pem")
        command, binds = CONFIGURE[self.name](self)
        subprocess.run(["chmod", "-R", "a+rwX", self.folder / "mail"], check=True)
        (self.folder / "key.pem").chmod(0o600)
        self._start_privately(command, binds)
        until(self.greets, f"{self.name} greets; it says:\n{self.log()}")

    def _start_privately(self, command: list[str | Path], binds: dict[str, Path]) -> None:
        """Run a command where each path of `binds` is the folder or file behind it, and the accounts exist."""
        demand_namespaces("mount", "pid")
        passwd = Path("/etc/passwd").read_text()
        group = Path("/etc/group").read_text()
        for name, uid in (ACCOUNTS | {MAIL_OWNER: MAIL_UID}).items():
            passwd = "".join(it for it in passwd.splitlines(True) if not it.startswith(f"{name}:"))
            group = "".join(it for it in group.splitlines(True) if not it.startswith(f"{name}:"))
            passwd += f"{name}:x:{uid}:{uid}::{self.folder}:/bin/sh\n"
            group += f"{name}:x:{uid}:\n"
        texts = {"/etc/passwd": passwd, "/etc/group": group, "/etc/hosts": f"127.0.0.1 {self.domain} localhost\n"}
        for path, text in texts.items():
            binds[path] = self.folder / os.path.basename(path)
            binds[path].write_text(text)
        script = "".join(f"mount --bind '{source}' '{path}' && " for path, source in binds.items())
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen(
                [*PRIVATELY, "sh", "-c", script + 'exec "$@"', "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ASR_CONFIG": ""},
            )

    def greets(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}; it said:\n{self.log()}"
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as client:
                return client.noop()[0] == 250
        except OSError:
            return False

    def log(self) -> str:
        files = [self.folder / "output", *self.folder.glob("*log"), *self.folder.glob("log/*")]
        return "\n".join(path.read_text(errors="replace") for path in files if path.is_file())

    def mail(self) -> list[str]:
        """The messages that were delivered to its own domain."""
        return [path.read_text(errors="replace") for path in sorted((self.folder / "mail/new").iterdir())]

    def give(self, sender: str, recipients: list[str], text: str) -> None:
        """Have it send a message, which may be for other domains if it is an `open_relay` for 127.0.0.1."""
        with smtplib.SMTP("127.0.0.1", self.port, "client.example.net", timeout=60) as client:
            client.sendmail(sender, recipients, text.replace("\n", "\r\n").encode(), ["BODY=8BITMIME"])

    def stop(self) -> None:
        if self.process is not None:
            # The first process of the namespace, with which all others go.
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            for pid in children.read_text().split() if self.process.poll() is None else ():
                os.kill(int(pid), signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def foreign(
    name: str, relay: Relay | None = None, *, offers_tls: bool = True, open_relay: bool = False
) -> Iterator[ForeignServer]:
    """A running server of this name: postfix, exim or opensmtpd; `open_relay`: it relays for 127.0.0.1 without AUTH."""
    server = _started(name, relay, offers_tls, open_relay)
    try:
        yield server
    finally:
        server.stop()


def _started(name: str, relay: Relay | None, offers_tls: bool, open_relay: bool) -> ForeignServer:
    """Start the server, again if it dies: another test that adds an account takes our /etc/passwd from below it."""
    for attempt in range(1, _ATTEMPTS + 1):
        server = ForeignServer(name, relay, offers_tls, open_relay)
        try:
            server.start()
            return server
        except AssertionError:
            server.stop()
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError


def unpacked(package: str) -> Path:
    """The folder with the files of a Debian package; no test fetches one, ./test did before."""
    folder = CACHE / package
    if not folder.is_dir():
        lack(f"the Debian package {package}, unpacked by: python -m tests.support.debian_packages")
    return folder


def fetch(package: str) -> None:
    """Have a Debian package unpacked in CACHE.  Fails: AssertionError, with the output of the package manager."""
    CACHE.mkdir(mode=0o755, exist_ok=True)
    folder = CACHE / package
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _unpack(package, folder)


def _unpack(package: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        fetch = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
        if subprocess.run(fetch, cwd=scratch, capture_output=True, check=False).returncode:
            subprocess.run(["apt-get", "-q", "update"], capture_output=True, check=False)
            done = subprocess.run(fetch, cwd=scratch, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        (archive,) = Path(scratch).glob("*.deb")
        files = Path(scratch) / "files"
        subprocess.run(["dpkg", "-x", archive, files], check=True)
        # A program that is setuid would be started without our environment, and needs no privilege here.
        subprocess.run(["chmod", "-R", "u-s,g-s,a+rX", files], check=True)
        files.rename(folder)


# ------------------------------------------------------------------ the configuration of each server

StartCommand = tuple[list[str | Path], dict[str, Path]]
"""The command that runs a server in the foreground, and what it shall find at which path."""


def _postfix(server: ForeignServer) -> StartCommand:
    programs, folder = server.binaries / "usr", server.folder
    for name in ("spool", "data", "sasl"):
        (folder / name).mkdir()
    os.chown(folder / "data", ACCOUNTS["postfix"], ACCOUNTS["postfix"])
    _sasl_user(server)
    if server.relay:
        (folder / "passwords").write_text(
            f"[127.0.0.1]:{server.relay.port} {server.relay.user}:{server.relay.password}\n"
        )
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": folder / "spool",
        "data_directory": folder / "data",
        "daemon_directory": programs / "lib/postfix/sbin",
        "command_directory": programs / "sbin",
        "meta_directory": server.binaries / "etc/postfix",
        "shlib_directory": programs / "lib/postfix",
        "import_environment": "MAIL_CONFIG MAIL_LOGTAG LD_LIBRARY_PATH",
        "maillog_file_prefixes": folder,
        "maillog_file": folder / "maillog",
        "myhostname": server.domain,
        "mydestination": "",
        "mynetworks": "127.0.0.0/8" if server.open_relay else "192.0.2.1/32",
        "smtpd_relay_restrictions": "permit_mynetworks permit_sasl_authenticated reject_unauth_destination",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "alias_maps": "",
        "biff": "no",
        "smtp_dns_support_level": "disabled",
        "smtpd_peername_lookup": "no",
        "virtual_mailbox_domains": server.domain,
        "virtual_mailbox_base": folder,
        "virtual_mailbox_maps": "static:mail/",
        "virtual_uid_maps": f"static:{MAIL_UID}",
        "virtual_gid_maps": f"static:{MAIL_UID}",
        "smtpd_tls_security_level": "may" if server.offers_tls else "none",
        "smtpd_tls_cert_file": folder / "cert.pem",
        "smtpd_tls_key_file": folder / "key.pem",
        "smtpd_sasl_auth_enable": "yes",
        "cyrus_sasl_config_path": folder / "sasl",
        "relayhost": f"[127.0.0.1]:{server.relay.port}" if server.relay else "",
        "smtp_tls_security_level": "encrypt" if server.relay and server.relay.tls else "none",
        "smtp_tls_wrappermode": "yes" if server.relay and server.relay.tls_first else "no",
        "smtp_sasl_auth_enable": "yes" if server.relay and server.relay.user else "no",
        "smtp_sasl_password_maps": f"texthash:{folder}/passwords",
        "smtp_sasl_security_options": "noanonymous",
        "minimal_backoff_time": "2s",
        "maximal_backoff_time": "4s",
        "queue_run_delay": "2s",
    }
    (folder / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    lines = (programs / "share/postfix/master.cf.dist").read_text().splitlines()
    services = [line for line in lines if line and line[0] not in "# \t" and not line.startswith("smtp      inet")]
    # Nothing runs in a chroot here.
    services = [line[:26] + "n" + line[27:] if line[26:27] in "-y" else line for line in services]
    services += [
        f"127.0.0.1:{server.port} inet n - n - - smtpd",
        f"127.0.0.1:{server.tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes",
        "postlog unix-dgram n - n - 1 postlogd",
    ]
    (folder / "master.cf").write_text("\n".join(services) + "\n")
    script = (
        'postfix=$1 folder=$2; shift 2; export LD_LIBRARY_PATH="$postfix/usr/lib/postfix" MAIL_CONFIG="$folder"; '
        'sh "$postfix/usr/lib/postfix/sbin/post-install" create-missing "config_directory=$folder" "$@" && '
        'exec "$postfix/usr/lib/postfix/sbin/master" -d'
    )
    words = [f"{name}={value}" for name, value in settings.items() if name.endswith("_directory")]
    words += ["mail_owner=postfix", "setgid_group=postdrop"]
    return ["sh", "-c", script, "sh", server.binaries, folder, *words], {}


def _sasl_user(server: ForeignServer) -> None:
    """Write Cyrus SASL's own table of users, and what of it Postfix is to use."""
    table = server.folder / "sasldb2"
    (server.folder / "sasl/smtpd.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {table}\nmech_list: PLAIN LOGIN CRAM-MD5\n"
    )
    subprocess.run(
        [unpacked("sasl2-bin") / "usr/sbin/saslpasswd2", "-c", "-p", "-f", table, "-u", server.domain, USER],
        input=PASSWORD.encode(),
        check=True,
    )
    table.chmod(0o644)


def _exim(server: ForeignServer) -> StartCommand:
    spool = server.folder / "spool"
    spool.mkdir()
    os.chown(spool, ACCOUNTS["Debian-exim"], ACCOUNTS["Debian-exim"])
    logs = server.folder / "log"
    logs.mkdir()
    os.chown(logs, ACCOUNTS["Debian-exim"], ACCOUNTS["Debian-exim"])
    os.chown(server.folder / "key.pem", ACCOUNTS["Debian-exim"], ACCOUNTS["Debian-exim"])
    program = server.binaries / "usr/sbin/exim4"
    relay = server.relay or Relay(0)
    (server.folder / "exim.conf").write_text(f"""
primary_hostname = {server.domain}
exim_path = {program}
spool_directory = {spool}
log_file_path = {logs}/%slog
log_selector = +tls_cipher
pid_file_path = {server.folder}/exim.pid
deliver_drop_privilege = true
domainlist local_domains = {server.domain}
hostlist relay_from_hosts = {"127.0.0.0/8" if server.open_relay else ""}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {server.port} : {server.tls_port}
tls_on_connect_ports = {server.tls_port}
tls_advertise_hosts = {"*" if server.offers_tls else ""}
tls_certificate = {server.folder}/cert.pem
tls_privatekey = {server.folder}/key.pem
acl_smtp_rcpt = acl_rcpt
acl_smtp_mail = acl_any
acl_smtp_data = acl_any
host_lookup =
rfc1413_query_timeout = 0s
remote_max_parallel = 20
keep_environment =
queue_run_max = 5
begin acl
acl_any:
  accept
acl_rcpt:
  accept domains = +local_domains
  accept hosts = +relay_from_hosts
  accept authenticated = *
  deny message = relaying denied
begin routers
mine:
  driver = accept
  domains = +local_domains
  transport = maildir
rest:
  driver = manualroute
  transport = onward
  route_list = * 127.0.0.1
  self = send
begin transports
maildir:
  driver = appendfile
  directory = {server.folder}/mail
  maildir_format
  return_path_add
onward:
  driver = smtp
  port = {relay.port}
  allow_localhost
  {"protocol = smtps" if relay.tls_first else ""}
  {"hosts_require_tls = *" if relay.tls else "hosts_avoid_tls = *"}
  {"hosts_require_auth = *" if relay.user else ""}
  tls_verify_hosts =
  tls_try_verify_hosts =
begin retry
* * F,1h,2s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{USER}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
  client_send = ^{relay.user}^{relay.password}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{{USER}}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth1
  client_send = : {relay.user} : {relay.password}
""")
    return [program, "-C", server.folder / "exim.conf", "-bdf", "-q2s"], {}


def _opensmtpd(server: ForeignServer) -> StartCommand:
    folder = server.folder
    state = {"/var/spool": "spool/smtpd", "/var/lib": "lib/opensmtpd/empty", "/run": "run", "/usr/libexec": "libexec"}
    for path in state.values():
        (folder / path).mkdir(parents=True)
    (folder / "spool/smtpd").chmod(0o711)
    shutil.copytree(server.binaries / "usr/libexec", folder / "libexec", dirs_exist_ok=True)
    (folder / "mailname").write_text(server.domain + "\n")
    relay = server.relay or Relay(0)
    scheme = "smtps" if relay.tls_first else "smtp+tls" if relay.tls else "smtp+notls"
    crypted = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / "users").write_text(f"{USER}\t{crypted}\n")
    (folder / "secrets").write_text(f"relay\t{relay.user}:{relay.password}\n")
    tls = f'pki "{server.domain}"'
    may_relay = "from any" if server.open_relay else "auth from any"
    offered = f"tls {tls} auth-optional <users>" if server.offers_tls else ""
    (folder / "smtpd.conf").write_text(f"""
pki "{server.domain}" cert "{folder}/cert.pem"
pki "{server.domain}" key "{folder}/key.pem"
table users file:{folder}/users
table secrets file:{folder}/secrets
table everybody {{ "@" = "{MAIL_OWNER}" }}
smtp limit max-mails 100000
listen on 127.0.0.1 port {server.port} {offered} hostname {server.domain}
listen on 127.0.0.1 port {server.tls_port} smtps {tls} auth-optional <users> hostname {server.domain}
action "mine" maildir "{folder}/mail" virtual <everybody>
action "onward" relay host "{scheme}://{"relay@" if relay.user else ""}127.0.0.1:{relay.port}" \\
 {"auth <secrets>" if relay.user else ""} {"tls no-verify" if relay.tls else ""} helo {server.domain}
match from any for domain "{server.domain}" action "mine"
match {may_relay} for any action "onward"
""")
    # Its spool, its sockets and its helpers have their places built in.
    binds = {path: folder / name.partition("/")[0] for path, name in state.items()}
    return [server.binaries / "usr/sbin/smtpd", "-d", "-f", folder / "smtpd.conf"], binds


PACKAGE_OF = {"postfix": "postfix", "exim": "exim4-daemon-light", "opensmtpd": "opensmtpd"}
CONFIGURE: dict[str, Callable[[ForeignServer], StartCommand]] = {
    "postfix": _postfix,
    "exim": _exim,
    "opensmtpd": _opensmtpd,
}
