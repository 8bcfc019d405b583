"""Everything that `eqmail check` looks at: each difference between an installation and what it should be.

A difference with an action can be mended by `eqmail check --fix`; one without it needs a person, and says what to do.

Fails: OSError where the caller may not look; Refusal for accounts that contradict the installation.
"""

from collections.abc import Iterator

from eqmail_core.control.declared import Controls
from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.checks.old_programs import old_ways
from eqmail_setup.diagnostics.checks.settings import OPEN_KEY, certificates
from eqmail_setup.diagnostics.finding import ERROR, Finding
from eqmail_setup.installation.accounts import caller, missing_accounts
from eqmail_setup.installation.loading import StagedSite, installed
from eqmail_setup.installation.manifest import hierarchy
from eqmail_setup.installation.runtime_access import reachable
from eqmail_setup.mail.aliases import examined, home_of_aliases
from eqmail_setup.queue import repair as queue_mending
from eqmail_setup.settings import databases
from eqmail_setup.settings.validation import Remark, remarks_on
from eqmail_setup.transaction.filesystem import World, state_of
from eqmail_setup.transaction.operations import Give, Write
from eqmail_setup.transaction.plan import Difference, Weight, observe

_BY_DATABASES = {Controls.morercpthosts_cdb.file}


def inspect(site: Site, world: World) -> Iterator[Difference]:
    """Every difference, accounts first, because everything else belongs to them.

    Below a staging root accounts, packages and interpreter of this machine do not count.
    """
    staged = isinstance(site, StagedSite)
    missing = [] if site.single_user or staged else missing_accounts(site.accounts)
    for name in missing:
        yield Difference(name, "no such account", "created: eqmail mkusers")
    yield from observe(hierarchy(installed(site), caller(), staged), world)
    yield from reachable(site.single_user or staged)
    if not missing:
        yield from home_of_aliases(site)
        yield from queue_mending.mending(site)
    yield from databases.making(site, world)
    yield from examined(site, world)
    yield from (_remarked(site, world, remark) for remark in remarks_on(site) if remark.file not in _BY_DATABASES)
    yield from (_found(site, world, finding) for finding in certificates(site))
    if not staged:
        yield from map(of_finding, old_ways(site, with_accounts=False))


def _remarked(site: Site, world: World, remark: Remark) -> Difference:
    place, action = f"{site.layout.control}/{remark.file}", None
    state = state_of(place, world) if remark.mended is not None else None
    if remark.mended is not None and state is not None and state.kind == "a file":
        action = Write(place, remark.mended, state.dress)
    return Difference(f"{site.control}/{remark.file}", remark.found, remark.wanted, action, remark.weight)


def of_finding(finding: Finding) -> Difference:
    """What the doctor has found, as check says it."""
    path, _, fact = finding.fact.partition(": ")
    weight = Weight.WRONG if finding.weight == ERROR else Weight.ADVICE
    return Difference(path, fact, f"mended: {finding.remedy}", None, weight)


def _found(site: Site, world: World, finding: Finding) -> Difference:
    item = of_finding(finding)
    place = item.path.removeprefix(f"{site.home}/")
    seen = world.look(place)
    is_open = finding.name == OPEN_KEY
    action = Give(place, seen.dress._replace(mode=seen.dress.mode & 0o770)) if is_open and seen else None
    return item._replace(action=action)
