"""`eqmail test send`: inject a test message and follow it until it leaves the queue or is deferred."""

import os
import subprocess
import time
from email.utils import formatdate

import click

from eqmail_core.queue.admin.filter import parse_filter
from eqmail_core.queue.admin.messages import QueuedMessage
from eqmail_core.site.site import Site
from eqmail_setup.cli.commands.queue.common import each_selected, knowledge_of
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import echo, print_hint, print_json
from eqmail_setup.errors import EqmailError, ExitCode, usage_error
from eqmail_setup.mail.routing import route_address
from eqmail_setup.queue.operations import Selection
from eqmail_setup.queue.presentation import reason_of
from eqmail_setup.settings.reload import running_pid

LEFT = "left the queue"
"""The state of a message that was delivered, or returned to its sender."""

_LOOK_EVERY_S = 0.2
# An accepted message appears in the queue, or has left it, within this time.
_APPEARS_S = 1.0


@click.group("test")
def command() -> None:
    """Test the delivery of mail.

    \b
    Examples:
      eqmail test send postmaster@example.org
    """


@command.command("send")
@click.argument("recipient")
@click.option("--from", "sender", metavar="ADDRESS", default="", help="Envelope sender; else the caller.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to wait.")
@json_option
@click.pass_context
def send(context: click.Context, recipient: str, sender: str, wait_s: float, as_json: bool) -> int:
    """Send a test message to RECIPIENT and follow it.

    A message that leaves the queue was delivered, or returned to its sender; the log says which. One that waits stays
    in the queue. Exits 0 when it has left the queue, 1 when it waits or cannot be delivered.

    \b
    Examples:
      eqmail test send postmaster@example.org
      eqmail test send ann@example.net --wait 30
    """
    site = require_installation(context)
    if "@" not in recipient or any(ord(sign) <= 32 for sign in recipient + sender):
        raise usage_error(f"invalid address {recipient!r}; give one such as joe@example.org")
    if not running_pid(site):
        raise EqmailError("the services do not run, so nothing would be delivered", hint=("eqmail", "status"))
    route = route_address(site, os.fsencode(recipient))
    if route.is_undeliverable:
        raise EqmailError(f"{recipient}: undeliverable: {route.failure}", hint=("eqmail", "explain", recipient))
    _inject(site, recipient, sender)
    state, reason = _follow(site, recipient, wait_s)
    if as_json:
        print_json("test-send-1", recipient=recipient, state=state, reason=reason)
    else:
        echo(f"{recipient}: {state}" + (f", {reason}" if reason else ""))
        print_hint(("eqmail", "log", "trace", recipient) if state == LEFT else ("eqmail", "queue", "list"))
    return ExitCode.OK if state == LEFT else ExitCode.PROBLEMS


def _inject(site: Site, recipient: str, sender: str) -> None:
    mark = os.urandom(8).hex()
    message = f"To: {recipient}\nSubject: eqmail test {mark}\nDate: {formatdate(localtime=True)}\n\nThis is a test.\n"
    words = [f"{site.bin}/qmail-inject", "-a", *([f"-f{sender}"] if sender else []), "--", recipient]
    environ = {**os.environ, "EQMAIL_HOME": site.home}
    done = subprocess.run(words, input=message.encode(), capture_output=True, env=environ, check=False)
    if done.returncode:
        raise EqmailError(f"{words[0]}: {done.stderr.decode('utf-8', 'replace').strip() or done.returncode}")


def _follow(site: Site, recipient: str, wait_s: float) -> tuple[str, str]:
    """The state of the newest message to a recipient, and why it waits; LEFT when there is none any more."""
    started = time.monotonic()
    chosen = Selection(parse_filter(f"recipient={recipient.lower()}"), None)
    while True:
        now = time.time()
        newest = max(each_selected(site, chosen, QueuedMessage.whole), key=lambda item: item.birth, default=None)
        waited = time.monotonic() - started
        if newest is None and waited >= _APPEARS_S:
            return LEFT, ""
        if newest is None:
            time.sleep(_LOOK_EVERY_S)
            continue
        knowledge = knowledge_of(site)
        reasons = [reason_of(item, now) for item in knowledge.recipients_of(newest, now) if item.attempts]
        if reasons and newest.state == "waiting":
            return "deferred", reasons[0]
        if waited >= wait_s:
            return newest.state, ""
        time.sleep(_LOOK_EVERY_S)
