"""Where settings come from: the control folder, read with an injected reader.

Source: control-files.md 2.1.
"""

from eqmail_core.control.classic_settings import ClassicSettings
from eqmail_core.control.delivery_settings import DeliverySettings
from eqmail_core.control.filter_settings import FilterSettings, MailAuthSettings, ReturnPathSettings
from eqmail_core.control.inject_settings import InjectSettings
from eqmail_core.control.smtp_settings import SmtpSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Controls(
    ClassicSettings,
    InjectSettings,
    SmtpSettings,
    FilterSettings,
    MailAuthSettings,
    ReturnPathSettings,
    DeliverySettings,
):
    """Every setting that an administrator can make, as attributes; see `ControlSet` for how they are read."""


def controls_in(
    folder: str, read_file: "Callable[[str], bytes | None]", environ: "Mapping[bytes, bytes] | None" = None
) -> Controls:
    """Settings whose files lie in `folder`; `read_file(path)` gives None for an absent file."""
    return Controls(lambda name: read_file(f"{folder}/{name}"), environ)


def reload_settings(current: Controls, fresh: Controls) -> None:
    """Take over from `fresh` what HUP may change, and nothing else.

    Fails: ControlError when one of these files cannot be read; then `current` is unchanged.
    """
    changed = {name: item.read(fresh) for name, item in Controls.declared().items() if item.reload_on_hup}
    vars(current).update(changed)
