"""Manual pages about files, settings and variables: made of their declarations, or of the texts in templates/man.

A text is NAME.SECTION.txt: its first line is the purpose; a line that begins with `# ` is a heading.
"""

from collections.abc import Iterator

from eqmail_core.control.controls import Controls
from eqmail_core.control.environment import VARIABLES
from eqmail_core.control.folders import FOLDERS
from eqmail_core.site.site import Site
from eqmail_setup.installation.build_config import CONF_BUILD, CONF_FILES
from eqmail_setup.installation.launchers import MODES, launchers
from eqmail_setup.reference.declarations import default_of
from eqmail_setup.reference.manual.roff import Page
from eqmail_setup.settings.reload import when_effective
from eqmail_setup.settings.units import accepted_values
from eqmail_setup.templating import plain_texts


def file_pages() -> Iterator[Page]:
    """All of them."""
    yield _control()
    yield _environment()
    yield _conf()
    yield _hierarchy()
    for file, text in plain_texts("man"):
        name, section, _ = file.rsplit(".", 2)
        yield _written(name, int(section), text)


def _control() -> Page:
    page = Page("qmail-control", 5, "the settings of eQmail")
    page.heading("DESCRIPTION")
    page.text(
        "One setting per file, in `control/` (layout eqmail-1.11: `etc/`). A missing file means the default.\n\n"
        "Kinds: a line is the first line without trailing blanks; a number its leading digits; a list has one entry a\n"
        "line, `#` begins a comment; a map is a list of KEY:VALUE; a file has a format of its own.\n\n"
        "`eqmail config show` shows what is in force, `eqmail config set` changes it, `eqmail config lint` looks for\n"
        "mistakes."
    )
    page.heading("FILES")
    for control in Controls.declared().values():
        info = [f"Kind: {control.kind}.", f"Default: {default_of(control.default, control.falls_back_to_me)}."]
        info += [f"Accepts: {accepted}."] if (accepted := accepted_values(control)) else []
        info += [f"Read by: {', '.join(control.used_by) or 'no program'}."]
        info += [f"Overridden by the environment variable `{control.env}`."] if control.env else []
        info += [f"In force: {when_effective(control)}."] if control.used_by else []
        info += [f"New in {control.since}: C (e)qmail ignores it."] if control.since else []
        page.item(control.file, "\n".join([control.manual, *info]))
    page.heading("FOLDERS")
    for name, manual in FOLDERS.items():
        page.item(f"{name}/", manual)
    page.see_also(["eqmail-config(8)", "eqmail-environment(7)", "qmail-conf(5)", "addresses(5)"])
    return page


def _environment() -> Page:
    page = Page("eqmail-environment", 7, "environment variables that the programs read or set")
    page.heading("VARIABLES")
    for item in VARIABLES:
        info = [item.manual, f"Read by: {', '.join(item.used_by)}."]
        info += [f"Without it: {item.default}."] if item.default else []
        info += [f"Set by: {item.set_by}."] if item.set_by else []
        page.item(item.name, "\n".join(info))
    page.heading("IN PLACE OF CONTROL FILES")
    for control in Controls.declared().values():
        if control.env:
            page.item(control.env, f"Overrides the control file `{control.file}`.")
    page.see_also(["qmail-control(5)", "dot-qmail(5)", "qmail-command(8)"])
    return page


def _conf() -> Page:
    page = Page("qmail-conf", 5, "choices that are made before setup")
    page.heading("DESCRIPTION")
    page.text(
        "`eqmail setup` reads these files from the current folder or from `--conf DIR`: the first line is the value\n"
        "(the first lines, where it is a list), the rest is comment. Or it reads the variables of a\n"
        f"`{CONF_BUILD}`, without running it. What was chosen is kept in the file `site` of the installation."
    )
    page.heading("FILES")
    for conf in CONF_FILES:
        variables = ", ".join(conf.variables)
        page.item(conf.file, f"{conf.manual}\nIn {CONF_BUILD}: {variables}. Default: `{conf.default}`.")
    page.see_also(["eqmail-setup(8)"])
    return page


def _hierarchy() -> Page:
    """What setup makes: from the same table that setup and check read."""
    from eqmail_setup.installation.manifest import base_manifest

    site = Site()
    page = Page("eqmail-hierarchy", 7, "what an installation consists of, with owners and modes")
    page.heading("DESCRIPTION")
    page.text(
        f"Below {site.home}, or where the home was chosen to be, in the layout {site.layout.name}. `eqmail setup`\n"
        "makes it, `eqmail check` compares it."
    )
    page.heading("FOLDERS AND FILES")
    rows = []
    for path, permissions, split in base_manifest(site, ("root", "root")):
        parts = f" and {split} numbered folders in it" if split else ""
        rows.append(f"{path or '.':24} {permissions}{parts}")
    page.literal("\n".join(rows))
    page.heading("PROGRAMS")
    page.text("Mode 0755, but 0700 where only root may start them: " + ", ".join(sorted(MODES)) + ".")
    page.text(", ".join(program.name for program in launchers()) + ".")
    page.see_also(["eqmail-setup(8)", "eqmail-check(8)"])
    return page


def _written(name: str, section: int, text: str) -> Page:
    purpose, _, rest = text.partition("\n")
    page = Page(name, section, purpose)
    for piece in ("\n" + rest).split("\n# ")[1:]:
        title, _, body = piece.partition("\n")
        page.heading(title)
        page.text(body)
    return page
