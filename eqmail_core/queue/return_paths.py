"""How senders leave this host and bounces find back, from the control files.

Fails: ControlError.
Source: control files srssecrets, srsdomain, batvsecrets, batvcheck.
"""

import time

from eqmail_core.queue.format.channels import LOCAL
from eqmail_core.queue.routing import Routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.control.controls import Controls
    from eqmail_core.mail_auth.return_path import ReturnPaths


def read_return_paths(controls: "Controls") -> "ReturnPaths | None":
    """Return how senders are rewritten; None without secrets, so that no code for it is imported."""
    if not (controls.srssecrets or controls.batvsecrets):
        return None
    from eqmail_core.mail_auth.return_path import ReturnPaths

    routes = Routes(
        controls.envnoathost, controls.locals or (), controls.percenthack or (), controls.virtualdomains or {}
    )
    return ReturnPaths(
        controls.srssecrets or (),
        controls.batvsecrets or (),
        controls.srsdomain,
        lambda address: routes.route(address)[0] == LOCAL,
        time.time,
        controls.batvcheck,
    )
