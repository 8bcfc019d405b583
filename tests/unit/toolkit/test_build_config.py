"""Where the choices of an installation come from, and which of them are refused."""

from pathlib import Path

import pytest

from eqmail_core.site.layout import EQMAIL_109, EQMAIL_111
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, ExitCode
from eqmail_setup.installation.build_config import (
    BuildOption,
    load_site,
    read_conf_files,
    resolve_build_config,
    resolve_home,
)

SHIPPED_USERS = "alias\nqmaild\nqmaill\nroot\nqmailp\nqmailq\nqmailr\nqmails\n\nThese are the qmail users.\n"


def test_the_first_line_of_a_conf_file_is_the_value_and_the_rest_is_comment(tmp_path: Path) -> None:
    (tmp_path / "conf-split").write_text("7\n\nThis is the queue split.\n")
    (tmp_path / "conf-users").write_text(SHIPPED_USERS.replace("qmails\n", "sender\n"))
    site = resolve_build_config("/h", read_conf_files(str(tmp_path)), None)
    assert site.split == 7
    assert site.accounts.user("qmails") == "sender"
    assert site.accounts.user("owner") == "root"


def test_an_empty_conf_break_disables_extensions(tmp_path: Path) -> None:
    (tmp_path / "conf-break").write_text("\n\nThe user-ext delimiter\n")
    assert resolve_build_config("/h", read_conf_files(str(tmp_path)), None).break_char == b""


def test_stored_values_hold_until_others_are_chosen() -> None:
    kept = Site(home="/h", split=7, break_char=b"-")
    site = resolve_build_config("/h", {"split": BuildOption("11", "conf-split")}, kept)
    assert (site.split, site.break_char) == (11, b"-")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("conf-split", "many\n"),
        ("conf-split", "0\n"),
        ("conf-split", "-5\n"),
        ("conf-split", "\n"),
        ("conf-split", "99999999999999999999\n"),
        ("conf-spawn", "256\n"),
        ("conf-patrn", "8\n"),
        ("conf-break", "++\n"),
        ("conf-break", "é\n"),
        ("conf-break", "€\n"),
        ("conf-users", "alias\nqmaild\n"),
        ("conf-users", SHIPPED_USERS.replace("qmailq", "qmaild")),
        ("conf-users", SHIPPED_USERS.replace("qmailq", "-rf")),
        ("conf-groups", "qmail\n"),
    ],
)
def test_an_invalid_value_is_refused_with_its_file_and_a_remedy(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(EqmailError) as refused:
        resolve_build_config("/h", read_conf_files(str(tmp_path)), None)
    assert refused.value.code == ExitCode.USAGE
    assert file in refused.value.text
    assert "write" in refused.value.text


def test_a_conf_build_is_read_and_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "conf-build").write_text(
        f"# the home\nPKGDIR=/opt/mail\nSPLIT='29'\nBREAK=\"-\"  # dash\nOTHER=`touch {ran}`\nNOT SHELL AT ALL\n"
    )
    choices = read_conf_files(str(tmp_path))
    site = resolve_build_config(resolve_home(None, choices, {}), choices, None)
    assert (site.home, site.split, site.break_char, site.layout) == ("/opt/mail", 29, b"-", EQMAIL_111)
    assert not ran.exists()


def test_a_conf_build_does_not_change_the_layout_of_what_exists(tmp_path: Path) -> None:
    (tmp_path / "conf-build").write_text("SPLIT=23\n")
    assert resolve_build_config("/h", read_conf_files(str(tmp_path)), Site(home="/h")).layout is EQMAIL_109


def test_a_conf_build_value_that_needs_a_shell_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conf-build").write_text("PKGDIR=$DESTDIR/qmail\n")
    with pytest.raises(EqmailError, match="write the value itself"):
        read_conf_files(str(tmp_path))


def test_a_named_folder_without_conf_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EqmailError, match="holds no conf-qmail"):
        read_conf_files(str(tmp_path))


def test_the_option_beats_the_environment_which_beats_the_file() -> None:
    choices = {"home": BuildOption("/from/conf", "conf-qmail")}
    assert resolve_home("/option", choices, {"EQMAIL_HOME": "/environment"}) == "/option"
    assert resolve_home(None, choices, {"EQMAIL_HOME": "/environment"}) == "/environment"
    assert resolve_home(None, choices, {}) == "/from/conf"
    assert resolve_home(None, {}, {}) == "/var/qmail"


@pytest.mark.parametrize("text", ["split x\n", "layout none\n", "users a b\n", "patrn 9\n", "split 1e9\n"])
def test_a_damaged_site_file_is_refused_and_not_guessed(tmp_path: Path, text: str) -> None:
    (tmp_path / "site").write_text(text)
    with pytest.raises(EqmailError, match="restore it"):
        load_site(str(tmp_path))


def test_no_site_file_means_no_installation(tmp_path: Path) -> None:
    assert load_site(str(tmp_path)) is None
    assert load_site(str(tmp_path / "absent")) is None
