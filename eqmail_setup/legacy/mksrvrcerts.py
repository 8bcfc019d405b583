"""mksrvrcerts: make the server's key and self-signed certificate, valid for a year, from control/servercert.cnf.

Where there is no servercert.cnf one is written, for the host of control/me. openssl makes key and certificate; both go
into control/servercert.pem, and control/clientcert.pem leads to it. On a terminal there are ten seconds to stop it.
The old certificate stays where no new one can be made. `eqmail cert` does without openssl, and renews.

Exits: 0, 1 where openssl failed, 111.  Source: control-files.md 2.6 (mksrvrcerts.sh).
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls, read_site
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.legacy.console import fatal, run_to_exit_code, write_line
from eqmail_setup.mail.certificates import path_in
from eqmail_setup.settings.classic_steps import ClassicStep, run_steps
from eqmail_setup.settings.initial import plan_initial_file
from eqmail_setup.templating import render
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import CreateSymlink

DAYS = 365
FAILED = 1
_PAUSE_S = 10
_OPEN_TO_SERVICES = 0o640


def main(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> int:
    """Make them."""
    site = read_site(environ)
    return run_to_exit_code("mksrvrcerts", lambda: _certify(site))


def _certify(site: Site) -> int:
    from shutil import which

    openssl = which("openssl")
    if openssl is None:
        return fatal("mksrvrcerts", "Couldn't find openssl! Install it, or do without: eqmail cert make", FAILED)
    path = f"{site.home}/{path_in(site)}"
    if os.path.exists(path):
        write_line(f"The file '{path}' exists already and will be overwritten!")
    options = _request(site)
    _pause()
    with TemporaryDirectory(prefix="mksrvrcerts-") as folder:
        write_line("Creating self-signed certificate")
        with open(f"{folder}/cnf", "wb") as file:
            file.write(options)
        words = ["req", "-new", "-x509", "-days", str(DAYS), "-nodes", "-config", f"{folder}/cnf"]
        if not _run(openssl, *words, "-out", f"{folder}/certificate", "-keyout", f"{folder}/key"):
            text = f"openssl made no certificate; look at {_request_path(site)}, and at the lines above"
            return fatal("mksrvrcerts", text, FAILED)
        write_line("Certificate details")
        _run(openssl, "x509", "-subject", "-dates", "-fingerprint", "-sha256", "-noout", "-in", f"{folder}/certificate")
        content = b"".join(_content(f"{folder}/{name}") for name in ("certificate", "key"))
    return run_steps(site, "mksrvrcerts", lambda world: _steps(site, world, options, content), write_line)


def _request_path(site: Site) -> str:
    return f"{site.control}/{Controls.servercert_cnf.file}"


def _request(site: Site) -> bytes:
    """What openssl is to put into the certificate.

    Fails: Refusal if neither the value nor the name of this host is known.
    """
    controls = read_controls(site)
    if controls.servercert_cnf is not None:
        return controls.servercert_cnf
    if controls.me is None:
        path = f"{site.control}/{Controls.me.file}"
        raise EqmailError(f"{path}: does not say the name of this host; run config-fast FQDN first")
    write_line("We are using defaults to create the certificates now.")
    write_line(f"Please customize {_request_path(site)} and run mksrvrcerts later again!")
    return render("control/servercert.cnf.j2", name=os.fsdecode(controls.me))


def _steps(site: Site, filesystem: Filesystem, options: bytes, content: bytes) -> list[ClassicStep]:
    permissions = OwnershipPolicy(site, caller())
    steps = []
    if snapshot(f"{site.layout.control}/{Controls.servercert_cnf.file}", filesystem) is None:
        owned = permissions("owner", _OPEN_TO_SERVICES)
        steps.append(plan_initial_file(site, filesystem, Controls.servercert_cnf.file, "", options, owned))
    # The server reads it as qmaild; qmail-remote shows it to other servers, and is of the group.
    owned = permissions("qmaild", _OPEN_TO_SERVICES)
    steps.append(plan_initial_file(site, filesystem, Controls.servercert.file, "", content, owned))
    link = f"{site.layout.control}/{Controls.clientcert.file}"
    if snapshot(link, filesystem) is None:
        steps.append(("", CreateSymlink(link, Controls.servercert.file)))
    return steps


def _pause() -> None:
    if not sys.stdout.isatty():
        return
    write_line(f"Wait {_PAUSE_S} seconds to continue, or press CTRL-C to stop now.")
    for left in range(_PAUSE_S, 0, -1):
        sys.stdout.write(f"{left} ")
        sys.stdout.flush()
        time.sleep(1)
    write_line("")


def _run(*words: str) -> bool:
    import subprocess

    sys.stdout.flush()
    return subprocess.run(words, check=False).returncode == 0


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
