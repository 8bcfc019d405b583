"""One transaction: everything or nothing, written down before it begins, under one lock per installation.

What fails in the middle is undone at once; what was killed in the middle is undone by the next transaction
(`eqmail_setup.transaction.rollback`).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eqmail_core.site.site import Site
from eqmail_setup.errors import permission_required
from eqmail_setup.installation.accounts import caller, user_name
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.installation.lock import LOCK, locked
from eqmail_setup.installation.staging import final_path
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.history import History, TransactionRecord, TransactionState
from eqmail_setup.transaction.operations import Operation
from eqmail_setup.transaction.plan import Change, apply_changes
from eqmail_setup.transaction.rollback import recover_interrupted
from eqmail_setup.transaction.staged_filesystem import StagedFilesystem


class Transaction:
    """One run that holds the lock: performs actions, each written down before the first is done."""

    def __init__(self, home: str, command: str) -> None:
        self.filesystem = DiskFilesystem(home)
        self.history = History(home)
        self.number = 0
        self._command = command

    def apply(self, differences: list[Change], on_operation: Callable[[Operation], None], undoes: int = 0) -> int:
        """Perform the actions of the differences; how many there were.

        Fails: EqmailError as `plan.apply_changes`; then everything is as before.
        """
        actions = [difference.operation for difference in differences if difference.operation]
        if not actions:
            return 0
        user = os.environ.get("SUDO_USER") or caller()[0]
        run = TransactionRecord(0, int(time.time()), user, self._command, TransactionState.STARTED, undoes, ())
        run = self.history.begin(run, self.filesystem, actions)
        try:
            done = apply_changes(differences, self.filesystem, on_operation)
            self.filesystem.sync()
        except BaseException:
            recover_interrupted(self.history, self.filesystem)
            raise
        if run.number:
            self.history.write(run.with_state(TransactionState.COMMITTED))
            self.history.expire()
        self.number = run.number
        return done


def require_owner(home: str) -> None:
    """Refuse callers who cannot change an installation.

    Fails: Refusal.
    """
    if os.path.isdir(home) and not os.access(home, os.W_OK):
        raise permission_required(f"{home}: needs the owner of the installation, often root")
    site = load_site(home) if os.path.isdir(home) else None
    if site is not None and site.single_user and os.stat(home).st_uid != os.geteuid():
        owner = user_name(os.stat(home).st_uid)
        text = f"{home}: installation of the single user {owner}; run the command as {owner}"
        raise permission_required(text)


@contextmanager
def begin_transaction(
    home: str, command: str, on_recovery: Callable[[str], None] = lambda line: None
) -> Iterator[Transaction]:
    """Hold the lock of an installation for one transaction, after undoing what an interrupted one left.

    `on_recovery` gets a line for each undone action.

    Fails: Refusal when another command holds the lock.
    """
    require_owner(home)
    os.makedirs(home, mode=0o755, exist_ok=True)
    with locked(f"{home}/{LOCK}"):
        run = Transaction(home, command)
        run.history.prepare()
        for line in recover_interrupted(run.history, run.filesystem):
            on_recovery(line)
        yield run


def filesystem_for(site: Site, stage: str) -> DiskFilesystem:
    """The home of a site on the disk, or below a staging root."""
    return StagedFilesystem(final_path(site, site.home), stage) if stage else DiskFilesystem(site.home)


class StagedTransaction:
    """A run below a staging root: it has no history, because nothing lives from what it makes."""

    number = 0

    def __init__(self, site: Site, stage: str) -> None:
        self.filesystem = filesystem_for(site, stage)

    def apply(self, differences: list[Change], on_operation: Callable[[Operation], None], undoes: int = 0) -> int:
        """Perform the actions of the differences; how many there were."""
        done = apply_changes(differences, self.filesystem, on_operation)
        self.filesystem.sync()
        return done


@contextmanager
def begin_staged_transaction(site: Site, stage: str) -> Iterator[StagedTransaction]:
    """Hold the lock of a staging root for one run.

    Fails: Refusal when another command holds it.
    """
    os.makedirs(stage, mode=0o755, exist_ok=True)
    with locked(f"{stage}/{LOCK}"):
        yield StagedTransaction(site, stage)
