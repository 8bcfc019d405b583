"""The reference pages: complete, reproducible, and distinguished from stale ones."""

from pathlib import Path

from eqmail_core.control.controls import Controls
from eqmail_core.control.environment import VARIABLES
from eqmail_setup.cli.command_table import COMMANDS
from eqmail_setup.cli.describe import describe_commands
from eqmail_setup.installation.launchers import launchers
from eqmail_setup.reference.pages import generated_files, pages, stale_files, write_files


def test_every_declaration_is_on_its_page() -> None:
    made = pages(describe_commands())
    for control in Controls.declared().values():
        assert f"\n## {control.file}\n\n{control.manual}\n" in made["control.md"]
    for variable in VARIABLES:
        assert f"| `{variable.name}` |" in made["environment.md"]
    for program in launchers():
        assert f"\n## {program.name}\n" in made["programs.md"]
    for name, entry in COMMANDS.items():
        assert (f"\n## eqmail {name}\n" in made["commands.md"]) == bool(entry.section)


def test_no_variable_is_declared_twice() -> None:
    names = [variable.name for variable in VARIABLES] + [c.env for c in Controls.declared().values() if c.env]
    assert sorted(names) == sorted(set(names))


def test_a_page_is_stale_when_one_byte_differs_or_it_is_missing(tmp_path: Path) -> None:
    manual = str(tmp_path / "manual")
    files = generated_files(str(tmp_path), manual, describe_commands())
    write_files(files, manual)
    assert stale_files(files, manual) == []
    (tmp_path / "control.md").write_text((tmp_path / "control.md").read_text() + "x")
    (tmp_path / "conf.md").unlink()
    (tmp_path / "manual/man8/eqmail-gone.8").touch()
    stale = sorted(path.removeprefix(f"{tmp_path}/") for path in stale_files(files, manual))
    assert stale == ["conf.md", "control.md", "manual/man8/eqmail-gone.8"]
    write_files(files, manual)
    assert stale_files(files, manual) == []
