"""The list of SMTP plugins."""

from eqmail_core.smtpd.policy import plugin_sections as s


def test_only_the_first_letter_of_a_section_counts() -> None:
    text = b"before\n# comment\n[connection]\na\n[m\nb  \n:echo c\n[MAIL]\nignored\n[x]\nignored\n[auth]\nd\n"
    plugins = s.parse_plugins(text)
    assert plugins[s.CONNECTION] == [b"a"]
    assert plugins[s.MAIL] == [b"b", b":echo c"]
    assert plugins[s.AUTH] == [b"d"]
    assert not plugins[s.DATA] + plugins[s.HELO] + plugins[s.RECIPIENT]


def test_no_file_means_no_plugins() -> None:
    assert not any(s.parse_plugins(None).values())


def test_a_colon_asks_for_the_shell() -> None:
    assert s.plugin_argv(b":echo a b") == [b"/bin/sh", b"-c", b"echo a b"]
    assert s.plugin_argv(b"bin/plugins/p q") == [b"bin/plugins/p q"]
