"""The reports about the settings."""

from collections.abc import Callable

import pytest

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import ControlError
from eqmail_core.control.shcfg import Ink, configuration_report, setup_report
from eqmail_core.control.showctl import settings_report
from eqmail_core.site.site import Site

Files = dict[str, bytes]


def controls(files: Files, broken: tuple[str, ...] = ()) -> Controls:
    def read(name: str) -> bytes | None:
        if name in broken:
            raise OSError(5, "broken")
        return files.get(name)

    return Controls(read)


def stamps(files: Files, old: tuple[str, ...] = ()) -> Callable[[str], float | None]:
    return lambda name: (1.0 if name in old else 2.0) if name in files else None


def shown(files: Files, broken: tuple[str, ...] = (), old: tuple[str, ...] = ()) -> dict[str, str]:
    report = settings_report(controls(files, broken), files, stamps(files, old))
    blocks = (block.decode().removeprefix("\n").partition(": ") for block in report)
    return {name: text for name, _, text in blocks}


def test_a_missing_file_shows_the_default_or_the_name_of_this_host() -> None:
    report = shown({"me": b"mail.example.org\n"})
    assert report["queuelifetime"] == "(Default.) Message lifetime in the queue is 604800 seconds.\n"
    assert report["bouncehost"] == "(Default.) Bounce host name is mail.example.org.\n"
    assert report["me"] == "My name is mail.example.org.\n"


def test_lists_show_one_line_per_entry_without_unprintable_bytes() -> None:
    report = shown({"locals": b"a.org\n# no\nb\xe4\x01.org  \n"})
    assert (
        report["locals"] == "\nMessages for a.org are delivered locally.\nMessages for b??.org are delivered locally.\n"
    )


@pytest.mark.parametrize(("text", "seconds"), [(b"12 apples\n", "12"), (b"abc\n", None), (b"", None)])
def test_a_number_is_its_leading_digits_or_else_the_default(text: bytes, seconds: str | None) -> None:
    expected = f"SMTP client connection timeout is {seconds or 60} seconds.\n"
    assert shown({"timeoutconnect": text})["timeoutconnect"] == ("" if seconds else "(Default.) ") + expected


@pytest.mark.parametrize(
    ("files", "old", "expected"),
    [
        ({}, (), "(Default.) No effect.\n"),
        ({"morercpthosts.cdb": b""}, (), "Oops! morercpthosts.cdb exists but morercpthosts doesn't.\n"),
        ({"morercpthosts": b""}, (), "Oops! morercpthosts exists but morercpthosts.cdb doesn't.\n"),
        (
            {"morercpthosts": b"", "morercpthosts.cdb": b""},
            ("morercpthosts.cdb",),
            "Oops! morercpthosts.cdb is older than morercpthosts.\n",
        ),
        (
            {"morercpthosts": b"", "morercpthosts.cdb": b""},
            (),
            "Modified recently enough; hopefully up to date.\n",
        ),
    ],
)
def test_a_compiled_list_is_compared_with_its_source(files: Files, old: tuple[str, ...], expected: str) -> None:
    assert shown(files, old=old)["morercpthosts.cdb"] == expected


def test_one_unreadable_file_does_not_hide_the_others() -> None:
    report = shown({"me": b"m\n", "locals": b"x\n"}, broken=("rcpthosts",))
    assert report["rcpthosts"] == "Oops! Trouble reading this file.\n"
    assert report["virtualdomains"] == "(Default.) No virtual domains.\n"


def test_without_a_readable_name_there_is_no_report() -> None:
    with pytest.raises(ControlError):
        shown({}, broken=("me",))


def test_unknown_files_and_new_settings_come_last() -> None:
    report = shown({"strange": b"", "maxrcpt": b"5\n"})
    assert list(report)[-2:] == ["strange", "maxrcpt"]
    assert report["strange"] == "I have no idea what this file does.\n"
    assert report["maxrcpt"].startswith("Most recipients")


def configured(files: Files, broken: tuple[str, ...] = ()) -> str:
    expiry = "valid until tomorrow"
    return b"".join(configuration_report(controls(files, broken), Ink(False), lambda pem: expiry)).decode()


def test_credentials_of_routes_are_not_shown() -> None:
    text = configured({"smtproutes": b"# c\na.org:relay:587 joe secret\n:other\n"})
    assert "\ta.org:relay:587\n\t:other\n" in text
    assert "secret" not in text


def test_a_missing_certificate_is_critical_and_a_present_one_is_dated() -> None:
    text = configured({"servercert.pem": b"pem"})
    assert "\tvalid until tomorrow\n" in text
    assert text.count("Critical: not found!") == 1


def test_settings_without_a_file_show_where_their_value_comes_from() -> None:
    text = configured({"me": b"m.example\n"}, broken=("locals",))
    assert "\tm.example (default: me)\n" in text
    assert "\t20 (default)\n" in text
    assert "\tcannot be read: locals: broken\n" in text


def test_colors_appear_on_terminals_only() -> None:
    site = Site(home="/h")
    assert b"\033" not in setup_report(site, Ink(False))
    assert setup_report(site, Ink(True)).startswith(
        b"\033[1mCompiled-in values:\033[0m\n\n    qmail home directory: /h\n"
    )
    assert b"\n      alias user: alias\n     daemon user: qmaild\n" in setup_report(site, Ink(False))
    assert b"\nsupports TLS/SSL: Yes\nsupport for IPv6: Yes\n" in setup_report(site, Ink(False))
