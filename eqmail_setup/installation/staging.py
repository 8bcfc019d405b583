"""Installations below a staging root: where their files are now, where they will be, and whose they are now."""

from typing import Any

from eqmail_core.site.site import Site


def staged_site(site: Site, root: str) -> Site:
    """The same site with its home below a staging root; unchanged if the root is ""."""
    return _changed(site, home=root + site.home, staging_root=root) if root else site


def is_staged(site: Site) -> bool:
    """Whether the files of a site are not in their place yet."""
    return bool(site.staging_root)


def final_path(site: Site, path: str) -> str:
    """A path of a site as it will be once what is staged is in its place."""
    return path.removeprefix(site.staging_root)


def final_site(site: Site) -> Site:
    """The site as it will be once what is staged is in its place."""
    return _changed(site, home=final_path(site, site.home), staging_root="")


def site_with_present_owners(site: Site) -> Site:
    """The site with the owners that its files have now: below a staging root everything belongs to the caller."""
    return _changed(site, single_user=site.single_user or is_staged(site))


def _changed(site: Site, **options: Any) -> Site:
    return Site(**{name: getattr(site, name) for name in Site.__slots__} | options)
