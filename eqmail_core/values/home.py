"""Where an installation is, and where its services listen.  Light: a program may need to know no more."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HOME_VARIABLE = b"EQMAIL_HOME"
DEFAULT_HOME = "/var/qmail"


def home_of(environ: "Mapping[bytes, bytes]") -> bytes:
    """The home that the environment names."""
    return environ.get(HOME_VARIABLE) or DEFAULT_HOME.encode()


def socket_path(home: str, name: str) -> str:
    """The socket of a service: "queue", "local", "lookup", "remote", "send" or "smtp"."""
    return f"{home}/run/{name}.sock"
