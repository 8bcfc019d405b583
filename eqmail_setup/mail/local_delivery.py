"""The view of a delivery into a home: the .qmail file that counts, its lines, and their failures.

The functions of a delivery look, as the user; nothing is written and no program is run.

Fails: never; what stands in the way is part of the answer.
"""

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from eqmail_core.local.delivery.dotqmail import MAILDIR, MBOX, REFUSED, plain
from eqmail_core.local.delivery.home import MAX_BYTES, STICKY, enter_home, find_instructions
from eqmail_core.local.delivery.request import candidates
from eqmail_core.local.service.user_batch import predicted_result
from eqmail_core.mailbox.maildir import WRITE_ERROR, Maildir
from eqmail_core.mailbox.maildir_quota import CountIsDue
from eqmail_core.outcome import DONE, Failure, TemporaryFailure
from eqmail_core.text.error_text import error_text
from eqmail_core.text.invisible_characters import visible
from eqmail_core.users.user import User
from eqmail_setup.installation.as_user import ChildFailed, run_as_user


class HomeView(NamedTuple):
    """What a delivery to a user finds.

    `tried` are the .qmail files in order, each with what was found; `file` is the one that counts, "" for none.
    `failure` is what a delivery would report, with `outcome` K, Z or D; "" for none. `cannot_look`: the caller lacks
    the rights of the user, so that nothing is known. `lookup_outcome` is the answer to the SMTP server.
    """

    tried: tuple[tuple[str, str], ...] = ()
    file: str = ""
    instructions: tuple[tuple[str, str], ...] = ()
    outcome: str = DONE.decode()
    failure: str = ""
    cannot_look: str = ""
    lookup_outcome: str = DONE.decode()


def look_into_home(user: User, default: bytes, patrn: int) -> HomeView:
    """Look at the files of a user for an address, as that user."""
    [view] = look_into_homes([user], default, patrn)
    return view


def look_into_homes(users: Sequence[User], default: bytes, patrn: int) -> list[HomeView]:
    """The same for several addresses of one account, at once."""
    if not users:
        return []
    try:
        text = run_as_user(
            users[0].uid, users[0].gid, lambda: json.dumps([_look(user, default, patrn) for user in users]).encode()
        )
        views = [_parse_view(*fields) for fields in json.loads(text)]
    except ChildFailed as problem:
        return [HomeView(cannot_look=str(problem))] * len(users)
    except (ValueError, TypeError):
        return [HomeView(cannot_look="the answer of the child process makes no sense")] * len(users)
    return views if len(views) == len(users) else [HomeView(cannot_look="an answer is missing")] * len(users)


def _parse_view(
    tried: list[list[str]],
    file: str,
    instructions: list[list[str]],
    outcome: str,
    failure: str,
    cannot_look: str,
    lookup_outcome: str,
) -> HomeView:
    """A view as the child wrote it."""
    return HomeView(
        tuple((str(name), str(found)) for name, found in tried),
        str(file),
        tuple((str(kind), str(argument)) for kind, argument in instructions),
        str(outcome),
        str(failure),
        str(cannot_look),
        str(lookup_outcome),
    )


def _look(user: User, default: bytes, patrn: int) -> HomeView:
    predicted = predicted_result(user, default, patrn, MAX_BYTES)
    outcome = DONE if predicted is None else predicted.outcome
    return _follow(user, default, patrn)._replace(lookup_outcome=outcome.decode())


def _follow(user: User, default: bytes, patrn: int) -> HomeView:
    try:
        is_sticky = enter_home(user.home, patrn)
    except Failure as failure:
        reason = failure.__cause__
        if isinstance(reason, PermissionError) and os.geteuid() != user.uid:
            return HomeView(cannot_look=f"cannot look into {show(user.home)} as {_own_name()}; run as root")
        return _failed(HomeView(), failure)
    view = HomeView(tried=tuple(_tried(user)))
    if is_sticky:
        # Nothing is read until the user has done; what is there now is shown.
        view = _failed(view, TemporaryFailure(STICKY))
    try:
        instructions = find_instructions(user.dash, user.ext, default, patrn)
    except Failure as failure:
        reason = failure.__cause__
        if isinstance(reason, PermissionError) and os.geteuid() != user.uid:
            return view._replace(cannot_look=f"cannot read {show(user.home)} as {_own_name()}; run as root")
        return view if is_sticky else _failed(view, failure)
    steps = [step for step in instructions.instructions if step[0] != REFUSED]
    view = view._replace(
        file=show(user.home + b"/" + instructions.file) if instructions.file else "",
        instructions=tuple((show(kind), _shown_target(user, kind, plain(argument))) for kind, argument in steps),
    )
    if is_sticky:
        return view
    try:
        for kind, argument in instructions.instructions:
            if kind == REFUSED:
                raise TemporaryFailure(argument)
            _check_target(kind, plain(argument))
    except Failure as failure:
        return _failed(view, failure)
    return view


def _failed(view: HomeView, failure: Failure) -> HomeView:
    return view._replace(outcome=failure.outcome.decode(), failure=show(failure.text))


def _check_target(kind: bytes, path: bytes) -> None:
    """Check that a mailbox takes mail.  Fails: TemporaryFailure, as a delivery."""
    if kind == MAILDIR:
        try:
            maildir = Maildir(path, may_count=False)
        except CountIsDue:
            return
        try:
            for folder in (maildir.tmp, maildir.new):
                if not os.access(b".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
                    raise TemporaryFailure(WRITE_ERROR)
        finally:
            maildir.close()
    elif kind == MBOX:
        place = path if os.path.lexists(path) else os.path.dirname(path) or b"."
        try:
            os.stat(place)
            if not os.access(place, os.W_OK, effective_ids=True):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise TemporaryFailure(b"Unable to open %b: %b. (#4.2.1)" % (path, error_text(error.errno))) from error


def _shown_target(user: User, kind: bytes, argument: bytes) -> str:
    """The argument of an instruction; a mailbox with its whole path."""
    if kind not in (MAILDIR, MBOX):
        return show(argument)
    path = os.path.normpath(os.path.join(user.home, argument))
    return show(path + b"/" if kind == MAILDIR else path)


def _tried(user: User) -> list[tuple[str, str]]:
    """Every candidate up to the first that exists."""
    tried = []
    for name, _ in candidates(user.dash, user.ext):
        try:
            is_there = os.stat(name)
        except FileNotFoundError:
            tried.append((show(name), "missing"))
            continue
        except OSError as error:
            tried.append((show(name), str(error.strerror).lower()))
            continue
        tried.append((show(name), f"found, mode {is_there.st_mode & 0o7777:04o}"))
        break
    return tried


def _own_name() -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"uid {os.geteuid()}"


def show(data: bytes) -> str:
    """Bytes for people; what could not be seen is spelled, line ends stay."""
    return "\n".join(map(visible, data.split(b"\n")))
