"""`eqmail queue`: look at the messages in the queue, and hold, retry, return, delete, move or suspend them.

While the services run everything goes through the scheduler; without them it is done on the files, under its lock.
"""

import click

from eqmail_setup.cli.commands.queue import change, show, suspend


@click.group("queue")
def command() -> None:
    """Show, retry, hold, return, delete and move messages.

    \b
    Fields of --where: domain recipient channel (of a recipient that waits), sender senderdomain,
    login uid client (who submitted it, with limits of submitters), state (waiting held running memory
    finished new), age size number; * stands for anything.
    """


for verb in (*show.VERBS, *change.VERBS, *suspend.VERBS):
    command.add_command(verb)
