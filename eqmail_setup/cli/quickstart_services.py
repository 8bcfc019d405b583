"""The services of a new server: started or reloaded, their addresses named, and a test message."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eqmail_setup.quickstart.plan import QuickstartPlan

Say = Callable[[str, str], None]
"""Writes a line about a stage."""


def start_services(expected: "QuickstartPlan", ran_before: bool, write_line: Say) -> dict[str, Any]:
    """Start the services, or make them read the new settings; then the test message."""
    from eqmail_setup.quickstart.preflight import addresses_of
    from eqmail_setup.quickstart.smoke_test import send_test_message
    from eqmail_setup.services.activation import next_steps, start
    from eqmail_setup.settings.reload import reload_services

    steps: list[str] = []
    if ran_before:
        write_line("services", reload_services(expected.site))
    for bundle in expected.bundles if not ran_before else ():
        links = [step for step in next_steps(bundle.manager, bundle.pieces) if step.startswith("ln ")]
        for step in links:
            write_line("services", step)
        start(bundle.manager, bundle.pieces, lambda step: write_line("services", step))
        steps += next_steps(bundle.manager, bundle.pieces)
    addresses = addresses_of(expected.bundles)
    if not addresses:
        return {"started": [], "delivered": ""}
    for service, host, port in addresses:
        write_line("listening", f"{service} at {f'[{host}]' if ':' in host else host}:{port}")
    host, port = next((host, port) for service, host, port in addresses if service == "smtp")
    test = send_test_message(expected.site, expected.name, host, port)
    beyond = f"accepted for {test.recipient}; look for it at {test.beyond}"
    write_line("test message", f"delivered: {test.file}" if test.file else beyond)
    return {"started": steps, "delivered": test.file or test.beyond}
