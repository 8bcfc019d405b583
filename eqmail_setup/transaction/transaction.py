"""How every changing command does its work: look, say or do, write down, report; under one lock per installation.

A run does everything or nothing: what fails in the middle is undone at once, and what was killed in the middle is
undone by the next run (`eqmail_setup.transaction.recovery`).
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import unified_diff
from functools import wraps
from typing import Any, NamedTuple

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.output import reporting
from eqmail_setup.errors import Refusal, privilege
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.loading import STAGE, as_installed, locked, stage_of
from eqmail_setup.transaction.disk_filesystem import RealWorld
from eqmail_setup.transaction.filesystem import World
from eqmail_setup.transaction.history import BEGUN, DONE, History, Run
from eqmail_setup.transaction.operations import Action, Write, is_final
from eqmail_setup.transaction.plan import Difference, Weight, apply
from eqmail_setup.transaction.recovery import mend
from eqmail_setup.transaction.staged_filesystem import RecordedWorld

_SECRETS = {"hash"}
"""Options whose values no record may hold."""

LOCK = ".setup.lock"
"""Below the home; whoever changes an installation holds its lock."""


class Manner(NamedTuple):
    """How a changing command was asked to work."""

    dry_run: bool
    diff: bool
    as_json: bool
    yes: bool = False

    @property
    def only_look(self) -> bool:
        """Whether nothing may be changed."""
        return self.dry_run or self.diff


def changing(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of every changing command; it gets them as `manner`."""

    @click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
    @click.option("--diff", is_flag=True, help="Show how files would change; implies --dry-run.")
    @reporting
    @click.option("--yes", is_flag=True, help="Ask nothing; without a terminal nothing is asked anyway.")
    @wraps(function)
    def with_manner(*words: Any, dry_run: bool, diff: bool, as_json: bool, yes: bool, **options: Any) -> int:
        return function(*words, manner=Manner(dry_run, diff, as_json, yes), **options)

    return with_manner


def staging(function: Callable[..., int]) -> Callable[..., int]:
    """As `changing`, with --root: the change is made below a staging root, without root and without history."""

    @click.option(
        "--root", metavar="DIR", default="", help="Stage below DIR without root; a manifest keeps the owners."
    )
    @wraps(function)
    def with_root(*words: Any, root: str, **options: Any) -> int:
        if root:
            click.get_current_context().find_root().meta[STAGE] = os.path.abspath(root)
        return function(*words, **options)

    return changing(with_root)


class Undertaking:
    """One run that holds the lock: performs actions, each written down before the first is done."""

    def __init__(self, home: str, command: str) -> None:
        self.world = RealWorld(home)
        self.history = History(home)
        self.number = 0
        self._command = command

    def perform(self, differences: list[Difference], tell: Callable[[Action], None], undoes: int = 0) -> int:
        """Perform the actions of the differences; how many there were.

        Fails: Refusal as `plan.apply`; then everything is as before.
        """
        actions = [difference.action for difference in differences if difference.action]
        if not actions:
            return 0
        run = Run(0, int(time.time()), os.environ.get("SUDO_USER") or caller()[0], self._command, BEGUN, undoes, ())
        run = self.history.begin(run, self.world, actions)
        try:
            done = apply(differences, self.world, tell)
            self.world.finish()
        except BaseException:
            mend(self.history, self.world)
            raise
        self.history.write(run.with_state(DONE))
        self.history.prune()
        self.number = run.number
        return done


def demand_owner(home: str) -> None:
    """Refuse callers who cannot change an installation.

    Fails: Refusal.
    """
    if os.path.isdir(home) and not os.access(home, os.W_OK):
        raise privilege(f"changing {home} needs the owner of the installation, often root")


@contextmanager
def undertaking(home: str, command: str) -> Iterator[Undertaking]:
    """Hold the lock of an installation for one run, after undoing what an earlier run broke off.

    Fails: Refusal when another command holds the lock.
    """
    demand_owner(home)
    os.makedirs(home, mode=0o755, exist_ok=True)
    with locked(f"{home}/{LOCK}"):
        run = Undertaking(home, command)
        run.history.prepare()
        for line in mend(run.history, run.world):
            click.echo(f"eqmail: note: {line}", err=True)
        yield run


def world_of(site: Site, stage: str) -> RealWorld:
    """The home of a site on the disk, or below a staging root."""
    return RecordedWorld(as_installed(site, site.home), stage) if stage else RealWorld(site.home)


class Staging:
    """A run below a staging root: it has no history, because nothing lives from what it makes."""

    number = 0

    def __init__(self, site: Site, stage: str) -> None:
        self.world = world_of(site, stage)

    def perform(self, differences: list[Difference], tell: Callable[[Action], None], undoes: int = 0) -> int:
        """Perform the actions of the differences; how many there were."""
        done = apply(differences, self.world, tell)
        self.world.finish()
        return done


@contextmanager
def staged(site: Site, stage: str) -> Iterator[Staging]:
    """Hold the lock of a staging root for one run.

    Fails: Refusal when another command holds it.
    """
    os.makedirs(stage, mode=0o755, exist_ok=True)
    with locked(f"{stage}/{LOCK}"):
        yield Staging(site, stage)


def carry_out(
    context: click.Context,
    site: Site,
    manner: Manner,
    plan: Callable[[World], list[Difference]],
    undoes: int = 0,
    leave: bool = False,
    quiet: bool = False,
) -> int:
    """Plan under the lock, then say or do it; the number of the run, 0 where nothing was done.

    What nobody can mend makes the whole run impossible, unless it may be left; then the caller tells of it. With
    `quiet` the plan has told what is done.

    Fails: Refusal.
    """
    stage = stage_of(context)
    if manner.only_look:
        world = world_of(site, stage)
        differences = plan(world)
        if not quiet:
            preview(differences, world, manner.as_json, manner.diff)
        return 0
    with staged(site, stage) if stage else undertaking(site.home, described(context)) as run:
        differences = plan(run.world)
        stuck = [item for item in differences if item.action is None and item.weight is Weight.WRONG]
        if stuck and not leave:
            raise Refusal(stuck[0].line())
        demand_consent(differences, run.world, manner)
        sentences = [item.action.sentence(run.world) for item in differences if item.action]
        run.perform(differences, lambda action: None, undoes)
        kept = [item.line() for item in differences if item.action is None]
    if manner.as_json:
        value = {"home": site.home, "run": run.number, "done": list(dict.fromkeys(sentences)), "kept": kept}
        click.echo(json.dumps(value, indent=1))
        return run.number
    for line in (*(() if quiet else dict.fromkeys(sentences)), *(() if leave else kept)):
        click.echo(line)
    if not sentences:
        click.echo("nothing to do")
    return run.number


def demand_consent(differences: list[Difference], world: World, manner: Manner) -> None:
    """Ask whoever sits at the terminal before anything that no rollback can bring back.

    Fails: Refusal for an answer that is not yes.
    """
    final = [item.action.sentence(world) for item in differences if item.action and is_final(item.action)]
    demand_consent_to(final, "no rollback brings that back; go on?", manner)


def demand_consent_to(sentences: list[str], question: str, manner: Manner) -> None:
    """Ask whoever sits at the terminal about what these sentences say.

    Fails: Refusal for an answer that is not yes.
    """
    if not sentences or manner.yes or manner.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    for sentence in dict.fromkeys(sentences):
        click.echo(sentence, err=True)
    if not click.confirm(f"eqmail: {question}", err=True):
        raise Refusal("nothing was done")


def described(context: click.Context) -> str:
    """The command as it was given, for the history."""
    words = [context.command_path]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value in (None, False, ()) or value == parameter.default or parameter.name == "yes":
            continue
        if isinstance(parameter, click.Option):
            words.append(parameter.opts[0])
            if value is True:
                continue
            value = "..." if parameter.name in _SECRETS else value
        words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return shlex.join(words[0].split(" ") + words[1:])


def preview(differences: list[Difference], world: World, as_json: bool, diff: bool) -> None:
    """Say what would be done."""
    if as_json:
        click.echo(json.dumps([_as_value(difference, world) for difference in differences], indent=1))
        return
    actions = [difference.action for difference in differences if difference.action]
    for action in dict.fromkeys(actions):
        click.echo(action.sentence(world))
        if diff and isinstance(action, Write):
            click.echo(_changes(action, world), nl=False)
    for difference in differences:
        if difference.weight is not Weight.WRONG:
            click.echo(difference.line())
    if not actions:
        click.echo("nothing to do")


def _changes(action: Write, world: World) -> str:
    seen = world.look(action.path)
    before = world.read(action.path) if seen and seen.kind == "a file" else b""
    if b"\0" in before or b"\0" in action.content or not action.dress.mode & 0o077:
        # Neither data nor secrets are shown.
        return ""
    old, new = (content.decode("utf-8", "replace").splitlines(keepends=True) for content in (before, action.content))
    path = world.show(action.path)
    return "".join(unified_diff(old, new, path, path))


def _as_value(difference: Difference, world: World) -> dict[str, str]:
    return {
        "path": difference.path,
        "is": difference.found,
        "should": difference.wanted,
        "weight": difference.weight.name.lower(),
        "action": difference.action.sentence(world) if difference.action else "",
    }
