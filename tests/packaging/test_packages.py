"""What a user installs: the wheel and the editable checkout both hold every package and every template."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SHIPPED = ("eqmail_core", "eqmail_setup", "templates", "pyproject.toml", "README.md", "LICENSE")
# Enough for every template: a name that a template uses and that is not here makes the rendering fail.
CONTEXT = {
    "home": "/var/qmail",
    "python": "/usr/bin/python3",
    "direct": True,
    "paths": ["/opt"],
    "program": {"name": "p", "module": "m", "function": "main"},
    "to": "ann@here.example",
    "date": "Mon, 23 Nov 2026 06:00:00 +0000",
    "number": "1",
    "user": "ann",
    "uid": 1000,
    "gid": 1000,
    "ann": "/home/ann",
    "alias": "/var/qmail/alias",
    "delimiter": "+",
    "file": "rules",
    "mark": "<1@here.example>",
    "name": "here.example",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "found": [("submission", 587)],
    "tlsa": "0",
    "dkim": ["x"],
    "command": "x",
    "listen": "x",
    "logins": "x",
    "users": "x",
    "certificate": "x",
    "maildir": "x",
    "hour": 1,
    "minute": 1,
    "linked": "x",
    "job": {"purpose": "x", "is_daily": True},
}
RENDER_ALL = f"""
from eqmail_setup.templating import render, template_names
from eqmail_setup.services.options import TemplateContext, Settings
kinds = {{str(kind): value for kind, value in ((str, "x"), (list[str], ["x"]), (dict[str, str], {{}}))}}
service = dict(Settings().model_dump(), script="x", value="x")
for name, field in TemplateContext.model_fields.items():
    service.setdefault(name, kinds.get(str(field.annotation), [{{"service": "x", "addresses": ["x"], "role": ""}}]))
from eqmail_setup.installation.manual_pages import packaged_pages
assert {{"man5/dot-qmail.5", "man8/eqmail-check.8"}} <= {{path for path, _ in packaged_pages()}}
for name in template_names():
    render(name, **(service if name.startswith("services/") else {CONTEXT!r}))
    print(name)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of what is shipped, so that building leaves nothing in the checkout."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in SHIPPED:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / name, copy / name)
    return copy


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A virtual environment that sees the packages of this one, but not this checkout."""
    folder = tmp_path / "scratch"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", *map(str, words), "-q", "--no-deps", "--no-build-isolation"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PIP_NO_INDEX": "1"})
    assert ended.returncode == 0, ended.stdout + ended.stderr


def templates() -> list[str]:
    folder = CHECKOUT / "templates"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.j2"))


def demand_complete(scratch: Path, tmp_path: Path) -> None:
    """The command answers, and every template renders, away from the checkout."""
    helped = subprocess.run([scratch / "bin/eqmail", "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert helped.returncode == 0, helped.stderr
    assert "Usage: eqmail" in helped.stdout
    rendered = subprocess.run([scratch / "bin/python", "-c", RENDER_ALL], capture_output=True, text=True, cwd=tmp_path)
    assert rendered.stdout.split() == templates(), rendered.stderr


@pytest.mark.slow
def test_the_wheel_is_complete(source: Path, scratch: Path, tmp_path: Path) -> None:
    pip("wheel", source, "-w", tmp_path / "wheels")
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in CHECKOUT.glob("eqmail_*/**/*.py"):
        assert str(path.relative_to(CHECKOUT)) in names, "the list of packages in pyproject.toml lacks a room"
    pip("--python", scratch / "bin/python", "install", wheel)
    demand_complete(scratch, tmp_path)


@pytest.mark.slow
def test_the_editable_installation_is_complete(source: Path, scratch: Path, tmp_path: Path) -> None:
    pip("--python", scratch / "bin/python", "install", "-e", source)
    demand_complete(scratch, tmp_path)


def test_the_version_has_one_home() -> None:
    import eqmail_core

    assert f'"{eqmail_core.VERSION}"' not in (CHECKOUT / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", ["bootstrap", "demo", "test", "config-fast", ".ci/run", ".ci/house"])
def test_scripts_are_executable_and_parse(name: str) -> None:
    path = CHECKOUT / name
    assert os.access(path, os.X_OK)
    shell = "bash" if "bash" in path.read_text().split("\n", 1)[0] else "sh"
    assert subprocess.run([shell, "-n", path]).returncode == 0


def test_make_setup_check_checks_the_installation_and_make_check_the_sources() -> None:
    if not shutil.which("make"):
        pytest.skip("make is not installed; ./test installs it as root")

    def commands(*targets: str) -> str:
        return subprocess.run(["make", "-n", *targets], cwd=CHECKOUT, capture_output=True, text=True).stdout

    both, alone = commands("setup", "check"), commands("check")
    assert re.search(r"eqmail\b.* setup\b.*eqmail\b.* check\b", both, re.DOTALL)
    assert "pytest" not in both
    assert "pytest" in alone
    assert not re.search(r"eqmail\b.* check\b", alone)
