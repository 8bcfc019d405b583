"""qmail-lspawn as in C: one qmail-local per delivery, behind pipes to a classic qmail-send.

Source: queue.md 3.11; qmail-lspawn.c.
"""

import os
import pwd

from eqmail_core.local.delivery.report import CANNOT_RUN, KEPT_OUTPUT, NOT_RUNNABLE, local_report
from eqmail_core.site.site import Site
from eqmail_core.spawn.protocol import Command
from eqmail_core.spawn.spawner import ClassicSpawner
from eqmail_core.system.privileges import PrivilegeError, assume_role, become_user
from eqmail_core.system.processes import run_captured
from eqmail_core.text.error_text import is_temporary
from eqmail_core.text.framing import fields
from eqmail_core.users.database import find_user
from eqmail_core.users.getpw import find_in_single_user_site
from eqmail_core.users.user import LOOKUP_CANNOT_RUN_GETPW, LOOKUP_ROOT, LOOKUP_SYSTEM, LOOKUP_USAGE, LookupFailed, User

_ANSWER_BYTES = 4096
_GETPW_TIMEOUT_S = 60.0


def run(site: Site, default_delivery: bytes, environ: dict[bytes, bytes]) -> None:
    """Serve descriptors 0 and 1 until the input ends.

    Fails: OSError; KeyError when the account that owns the queue is missing.
    """
    owner = os.getuid() if site.single_user else pwd.getpwnam(site.accounts.user("qmailq")).pw_uid
    os.chdir(f"{site.queue.root}/mess")

    def act(command: Command) -> int:
        try:
            return _deliver(site, default_delivery, environ, command)
        except LookupFailed as failure:
            return failure.code

    ClassicSpawner(site.spawn, owner, act, local_report, KEPT_OUTPUT).run()


def _deliver(site: Site, default_delivery: bytes, environ: dict[bytes, bytes], command: Command) -> int:
    """Look up the user, switch to it and execute qmail-local; return an exit code on failure."""
    local, _, host = command.recipient.rpartition(b"@")
    if not local:
        return 0
    os.chdir(site.home)
    user = find_user(site, local) or _find_account(site, environ, local)
    if user.uid == 0 and not site.single_user:
        return LOOKUP_ROOT
    try:
        become_user(user.uid, user.gid)
    except PrivilegeError:
        return LOOKUP_USAGE
    program = os.fsencode(f"{site.bin}/qmail-local")
    words = [program, b"--", user.name, user.home, local, user.dash, user.ext, host, command.sender, default_delivery]
    try:
        os.execve(program, words, environ)
    except OSError as error:
        return CANNOT_RUN if is_temporary(error) else NOT_RUNNABLE


def _find_account(site: Site, environ: dict[bytes, bytes], local: bytes) -> User:
    """Look up the account with bin/qmail-getpw, run as qmailp."""
    if site.single_user:
        return find_in_single_user_site(site, local)
    program = os.fsencode(f"{site.bin}/qmail-getpw")

    def ask() -> int:
        try:
            assume_role(site, "qmailp")
            os.execve(program, [program, local], environ)
        except PrivilegeError:
            return LOOKUP_USAGE
        except OSError:
            return LOOKUP_CANNOT_RUN_GETPW

    code, answer = run_captured(ask, _ANSWER_BYTES, _GETPW_TIMEOUT_S)
    if code:
        raise LookupFailed(code if code > 0 else LOOKUP_SYSTEM)
    return User.from_fields(fields(answer))
