"""Which action makes running services use a changed setting."""

import pytest

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import ALL, QUEUE, SEND, START
from eqmail_setup.settings.reload import RequiredAction, required_action, when_effective


@pytest.mark.parametrize(
    ("files", "action"),
    [
        (["concurrencyremote"], RequiredAction.RESTART),
        (["me"], RequiredAction.RESTART),
        (["smtplisten"], RequiredAction.RESTART),
        (["queuedurability"], RequiredAction.RESTART),
        (["locals"], RequiredAction.RELOAD),
        (["rcpthosts"], RequiredAction.RELOAD),
        (["rcpthosts", "concurrencyremote"], RequiredAction.RESTART),
        (["servercert.pem"], RequiredAction.NONE),
        (["smtproutes"], RequiredAction.NONE),
        (["submissionlimits"], RequiredAction.NONE),
        (["plusdomain"], RequiredAction.NONE),
        ([], RequiredAction.NONE),
    ],
)
def test_the_strongest_action_counts(files: list[str], action: RequiredAction) -> None:
    assert required_action(files) is action


def test_what_is_read_at_the_start_needs_a_restart() -> None:
    for name, control in Controls.declared().items():
        if name == "submissionlimits":
            continue  # the queue service watches it
        if set(control.used_by) & {START, QUEUE, *ALL} or (SEND in control.used_by and not control.reload_on_hup):
            assert required_action([control.file]) is RequiredAction.RESTART


def test_a_file_that_its_reader_watches_is_said_to_need_no_reload() -> None:
    assert "uses a new file at once" in when_effective(Controls.servercert)
    assert "at HUP" in when_effective(Controls.rcpthosts)
