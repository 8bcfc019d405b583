"""config-fast: what an administrator wrote stays, and every run is on record."""

from pathlib import Path

from eqmail_core.site.layout import EQMAIL_111
from eqmail_core.site.site import Site
from eqmail_setup.settings.classic_steps import run_steps
from eqmail_setup.settings.initial import plan_initial_settings
from eqmail_setup.transaction.history import History


def write(site: Site, name: str, output: list[str]) -> None:
    run_steps(site, f"config-fast {name}", lambda world: plan_initial_settings(site, name, world), output.append)


def test_a_second_run_keeps_what_was_changed_and_renews_the_name(tmp_path: Path) -> None:
    site, output = Site(home=str(tmp_path), single_user=True), []
    write(site, "mail.example.org", output)
    (tmp_path / "control/locals").write_text("mine\n")
    output.clear()
    write(site, "new.example.net", output)
    assert (tmp_path / "control/me").read_text() == "new.example.net\n"
    assert (tmp_path / "control/locals").read_text() == "mine\n"
    assert [line for line in output if line.startswith(("Putting", "Creating"))] == [
        "Putting new.example.net into control/me...",
        "Putting example.net into control/defaultdomain...",
    ]


def test_the_other_layout_has_its_own_folder(tmp_path: Path) -> None:
    output: list[str] = []
    write(Site(home=str(tmp_path), layout=EQMAIL_111, single_user=True), "m.example.org", output)
    assert (tmp_path / "etc/me").read_text() == "m.example.org\n"
    assert "Putting m.example.org into etc/me..." in output


def test_settings_written_by_a_classic_program_are_recorded(tmp_path: Path) -> None:
    site = Site(home=str(tmp_path), single_user=True)
    write(site, "mail.example.org", [])
    write(site, "mail.example.org", [])
    (run,) = History(site.home).records()
    assert run.command == "config-fast mail.example.org"
    assert "control/me" in {step.path for step in run.changes}
