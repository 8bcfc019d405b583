"""Every control file of the suite; their declarations are the only home of names, defaults and manuals."""

from eqmail_core.control.classic_settings import ClassicSettings
from eqmail_core.control.delivery_settings import DeliverySettings
from eqmail_core.control.filter_settings import FilterSettings
from eqmail_core.control.inject_settings import InjectSettings
from eqmail_core.control.smtp_settings import SmtpSettings


class Controls(ClassicSettings, InjectSettings, SmtpSettings, FilterSettings, DeliverySettings):
    """Every setting that an administrator can make, as attributes; see `ControlSet` for how they are read."""
