"""Changing users permanently and temporarily: completely, or not at all."""

import os
from collections.abc import Callable

import pytest

from eqmail_core.system.privileges import PrivilegeError, TemporaryIdentity, become_user

JOE = 54321

pytestmark = pytest.mark.root


def in_child(act: Callable[[], bool]) -> bool:
    """Run a function in another process; its truth value."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if act() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def is_root() -> bool:
    return (os.getresuid(), os.getresgid()) == ((0, 0, 0), (0, 0, 0)) and JOE not in os.getgroups()


def test_acting_ends_as_root_without_the_groups_of_others() -> None:
    def act() -> bool:
        with TemporaryIdentity(JOE, JOE):
            acted = (os.geteuid(), os.getegid(), os.getgroups(), os.getuid()) == (JOE, JOE, [JOE], 0)
        return acted and is_root() and os.getcwd() == "/"

    assert in_child(act)


@pytest.mark.parametrize("step", ["setgroups", "setegid", "seteuid"])
@pytest.mark.parametrize("failure", [PermissionError(1, "no"), OverflowError("no"), None])
def test_a_step_that_fails_leaves_root_as_it_was(
    step: str, failure: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step may fail, or do nothing and say that it has."""
    real = getattr(os, step)

    def broken(wanted: object) -> None:
        if wanted in (JOE, [JOE]):
            if failure is not None:
                raise failure
        else:
            real(wanted)

    def act() -> bool:
        monkeypatch.setattr(os, step, broken)
        try:
            with TemporaryIdentity(JOE, JOE):
                return step == "setgroups" and failure is None
        except PrivilegeError:
            return is_root()

    assert in_child(act)


@pytest.mark.parametrize("ids", [(0, 0), (0, JOE), (1 << 40, JOE), (JOE, 1 << 40)])
def test_acting_as_root_or_without_an_account_is_refused(ids: tuple[int, int]) -> None:
    def act() -> bool:
        try:
            with TemporaryIdentity(*ids):
                return False
        except PrivilegeError:
            return is_root()

    assert in_child(act)


@pytest.mark.parametrize("ids", [(1 << 40, JOE), (JOE, 1 << 40), (-5, JOE)])
def test_ids_that_no_system_has_cannot_be_become(ids: tuple[int, int]) -> None:
    def act() -> bool:
        try:
            become_user(*ids)
        except PrivilegeError:
            return os.getuid() == 0
        return False

    assert in_child(act)


@pytest.mark.parametrize("step", ["setgroups", "setresgid", "setresuid"])
def test_a_failed_change_of_user_is_reported(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_wanted: object) -> None:
        raise PermissionError(1, "no")

    def act() -> bool:
        monkeypatch.setattr(os, step, broken)
        try:
            become_user(JOE, JOE)
        except PrivilegeError:
            return True
        return False

    assert in_child(act)
