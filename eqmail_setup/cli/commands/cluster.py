"""`eqmail cluster`: the nodes that share a queue in PostgreSQL."""

import os
import shutil
import time
from pathlib import Path
from tempfile import mkdtemp

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import require_consent
from eqmail_setup.cli.options import ChangeOptions, json_option
from eqmail_setup.cli.output import Column, echo, print_json, print_table, print_warning
from eqmail_setup.errors import EqmailError, ExitCode
from eqmail_setup.queue.nodes import NodeStatus, cluster_status, create_tables, forget_node, set_draining


@click.group("cluster")
def command() -> None:
    """Manage the nodes that share a queue in PostgreSQL.

    \b
    Examples:
      eqmail setup --queue "postgresql:host=db dbname=eqmail user=qmailq"
      eqmail cluster init
      eqmail cluster status
      eqmail cluster drain mx2.example.org
      eqmail cluster demo
    """


@command.command("init")
@click.pass_context
def init(context: click.Context) -> int:
    """Create the tables of the queue, or bring them to the version of this software.

    Safe to repeat. Nodes of an older version keep mail waiting until they are upgraded, too.

    \b
    Examples:
      eqmail cluster init
    """
    before, after = create_tables(require_installation(context))
    if before == after:
        echo(f"No changes needed: the tables have version {after}.")
    else:
        echo(f"Upgraded the tables from version {before} to {after}." if before else "Created the tables.")
    return 0


@command.command("status")
@json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> int:
    """Show the nodes, their leases, and what waits for any of them.

    Exit status 1: a node has no lease, or no standby confirms commits although the database waits for one.

    \b
    Examples:
      eqmail cluster status
      eqmail cluster status --json
    """
    found = cluster_status(require_installation(context))
    is_wrong = any(not node.is_live for node in found.nodes) or (found.wants_standby and not found.standbys)
    if as_json:
        nodes = [
            node._asdict() | {"lease_until": node.lease_until.isoformat() if node.lease_until else None}
            for node in found.nodes
        ]
        print_json(
            "cluster-1",
            nodes=nodes,
            waiting=found.waiting,
            held=found.held,
            oldest=found.oldest,
            synchronous_standbys=found.standbys,
        )
        return ExitCode.PROBLEMS if is_wrong else ExitCode.OK
    right = Column("MESSAGES", right=True), Column("EPOCH", right=True)
    columns = [Column("NODE", fixed=True), Column("STATE"), right[0], Column("VERSION"), right[1]]
    rows = [(node.name, _state(node), str(node.messages), node.software, str(node.epoch)) for node in found.nodes]
    age = f", oldest {(time.time() - found.oldest) / 3600:.1f} h" if found.oldest is not None else ""
    print_table(columns, rows, f"{len(rows)} nodes, {found.waiting} messages wait ({found.held} held{age})")
    if found.wants_standby and not found.standbys:
        print_warning("the database waits for a synchronous standby, and none is connected: mail is refused for now")
    return ExitCode.PROBLEMS if is_wrong else ExitCode.OK


def _state(node: NodeStatus) -> str:
    if not node.is_live:
        return "down"
    return "draining" if node.is_draining else "active"


@command.command("drain")
@click.argument("node")
@click.option("--undo", is_flag=True, help="Let it take waiting messages again.")
@click.pass_context
def drain(context: click.Context, node: str, undo: bool) -> int:
    """Let NODE take no more waiting messages; others deliver them.

    It goes on accepting mail and tries each message once. A node that starts again is not drained any more.

    \b
    Examples:
      eqmail cluster drain mx2.example.org
      eqmail cluster drain mx2.example.org --undo
    """
    set_draining(require_installation(context), node, not undo)
    echo(f"Node {node} takes waiting messages again." if undo else f"Node {node} takes no more waiting messages.")
    return 0


@command.command("forget")
@click.argument("node")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def forget(context: click.Context, node: str, yes: bool) -> int:
    """Remove a NODE that does not run any more; its messages become free at once.

    \b
    Examples:
      eqmail cluster forget mx2.example.org
    """
    site = require_installation(context)
    require_consent([], f"Forget node {node}?", ChangeOptions(False, False, False, yes), always=True)
    forget_node(site, node)
    echo(f"Forgot node {node}.")
    return 0


@command.command("demo")
@click.option("--folder", metavar="DIR", help="A new folder for everything; one below /tmp when left out.")
@click.option("--keep", is_flag=True, help="Keep the folder, with logs and mail.")
def demo(folder: str | None, keep: bool) -> int:
    """Show two nodes with one queue in a private PostgreSQL: one is killed, the other delivers its mail.

    Needs the programs of PostgreSQL, but no root and no installation. Stops and removes everything at the end.

    \b
    Examples:
      eqmail cluster demo
      eqmail cluster demo --folder /tmp/two-nodes --keep
    """
    from eqmail_setup.cluster_demo import ClusterDemo
    from eqmail_setup.demo import interrupted_by_term
    from eqmail_setup.installation.loading import MAX_HOME_LENGTH

    begun = time.monotonic()
    path = Path(os.path.abspath(folder) if folder else mkdtemp(prefix="eqmail-cluster-"))
    if len(os.fsencode(path)) + len("/ann") > MAX_HOME_LENGTH:
        raise EqmailError(f"{path}: too long, because sockets are below it")
    if folder:
        try:
            path.mkdir()
        except OSError as error:
            raise EqmailError(f"{path}: {error.strerror}; the folder must be a new one") from error
    path.chmod(0o755)  # PostgreSQL passes through it, below a folder of its own
    try:
        demonstration = ClusterDemo(path, echo)
        with interrupted_by_term():
            try:
                demonstration.prepare()
                demonstration.show()
                echo("\nStopping node and database")
            finally:
                demonstration.stop()
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)
    kept = f"Everything is in {path}." if keep else "Everything is removed."
    echo(f"\nDone in {time.monotonic() - begun:.0f} seconds. {kept} Real nodes: docs/cluster.md")
    return 0
