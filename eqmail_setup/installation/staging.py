"""A site below a staging root: where its files are now, and where they will be."""

from typing import Any

from eqmail_core.site.site import Site


class StagedSite(Site):
    """A site below a staging root: its home is where its files are now, not where they will be."""

    __slots__ = ("stage",)
    stage: str


def in_stage(site: Site, stage: str) -> Site:
    """The same site below a staging root; unchanged if the root is ""."""
    if not stage:
        return site
    made = StagedSite(**_options_of(site) | {"home": stage + site.home})
    made.stage = stage
    return made


def final_path(site: Site, path: str) -> str:
    """A path as it will be once what is staged is in its place."""
    return path.removeprefix(site.stage) if isinstance(site, StagedSite) else path


def final_site(site: Site) -> Site:
    """The site as it will be once what is staged is in its place."""
    return Site(**_options_of(site) | {"home": final_path(site, site.home)})


def path_on_disk(site: Site) -> Site:
    """The site with the owners that its files have now: below a staging root everything belongs to the caller."""
    return Site(**_options_of(site) | {"single_user": site.single_user or isinstance(site, StagedSite)})


def _options_of(site: Site) -> dict[str, Any]:
    return {name: getattr(site, name) for name in Site.__slots__}
