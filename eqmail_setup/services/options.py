"""The variables of the templates of service files, as pydantic models: what can be set, and what follows from it.

`Settings` is what an administrator can set, for all services or, as SERVICE.KEY, for one; `TemplateContext` is all
that a template sees.

Fails: Refusal (wrong usage) for an invalid key or value.
"""

import shlex
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from eqmail_setup.errors import usage_error

PAIR = "write KEY=VALUE or SERVICE.KEY=VALUE"
WILDCARD = "0.0.0.0"

MEMORY_BYTES = 300_000_000
"""What a program that serves a connection may have, where nothing else is set."""


def _seen(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line, and hold nothing that cannot be seen")
    return text


def _a_path(text: str) -> str:
    if not _seen(text).startswith("/"):
        raise ValueError("must be an absolute path")
    return text.rstrip("/") or "/"


def _an_address(text: str) -> str:
    return str(ip_address(text.strip("[]")))


def _words(text: str) -> str:
    shlex.split(_seen(text))
    return text


def _networks(text: str) -> str:
    """Addresses and networks with blanks between them, and nothing else: the file that they come into has no quotes."""
    return " ".join(str(ip_network(word, strict=False)) if "/" in word else _an_address(word) for word in text.split())


Path = Annotated[str, AfterValidator(_a_path)]
Address = Annotated[str, AfterValidator(_an_address)]
Words = Annotated[str, AfterValidator(_words)]
Networks = Annotated[str, AfterValidator(_networks)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Settings(BaseModel):
    """What can be set with --set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field("qmail", description="What the services are called: NAME itself, or NAME-send, NAME-smtpd ...")
    folder: Path = Field("/", description="Where the service files go.")
    delivery: str = Field(
        "",
        description="Delivery for users without a .qmail file; empty: what control/defaultdelivery says at each start.",
    )
    logger: Words = Field("", description="Program that gets the log of the MTA.")
    listener: Literal["resident", "tcpserver", "socket"] = Field(
        "resident",
        description="Who accepts connections: the resident SMTP service of qmail-start, ucspi-tcp's tcpserver with a "
        "program per connection, or (systemd) a socket unit with a program per connection.",
    )
    address: Address = Field(WILDCARD, description="Address to listen on; 0.0.0.0 for all.")
    ipv6: bool = Field(False, description="With address 0.0.0.0: yes to listen on all IPv6 addresses, too.")
    port: int = Field(0, ge=0, lt=65536, description="Port to listen on; 0 for the usual one of the service.")
    concurrency: int = Field(40, ge=1, description="Most connections at a time.")
    per_source: int = Field(10, ge=1, description="Most connections at a time from one address.")
    memory: int = Field(MEMORY_BYTES, ge=0, description="Most bytes of memory for each connection; 0 for no limit.")
    checkpassword: Words = Field("", description="The checkpassword program and its arguments, where one is needed.")
    handover: bool = Field(
        True,
        description="no: a program that is started for a connection serves it itself, whatever control/smtphandover "
        "says.",
    )
    tcpserver: Words = Field(
        "tcpserver", description="The program tcpserver or one with its options, with more options."
    )
    rules: Path = Field("/etc/tcp.cdb", description="Rules for tcpserver, made by tcprules; used where they exist.")
    only_from: Networks = Field("", description="Addresses and networks that may connect; empty for all.")
    relay: bool = Field(
        False,
        description="yes: clients may send mail anywhere; refused without only_from.",
    )
    scanned: Path = Field("/etc/service", description="The folder that the supervisor watches, for links to services.")
    logdir: Path = Field("/var/log/qmail", description="Where loggers keep their files, a folder for each service.")
    log_size: int = Field(1_000_000, ge=4096, lt=2**28, description="Bytes in one file of a log.")
    log_count: int = Field(20, ge=2, lt=1000, description="Files of one log that are kept.")
    pidfile: Path = Field("/run/qmail.pid", description="File that holds the process id of qmail-start.")
    stop_timeout: int = Field(
        300, ge=1, description="Seconds to wait for running deliveries at a stop before giving up or killing them."
    )

    def hosts(self) -> list[str]:
        """The addresses to listen on."""
        return [WILDCARD, "::"] if self.ipv6 and self.address == WILDCARD else [self.address]


class Socket(BaseModel):
    """Where one service listens."""

    service: str
    title: str
    addresses: list[str]
    role: str = Field(description="The role of the listener, as it stands before an address; empty for mail transfer.")


class TemplateContext(Settings):
    """All that the template of a service file sees; lists are words of a command."""

    service: str = Field(description="What the administrator calls the service.")
    daemon: str = Field(description="What its process is called, as in NAME-smtpd.")
    title: str = Field(description="What it is, for people.")
    home: str
    bin: str
    path: str = Field(description="PATH for the service.")
    delivery_file: str = Field(description="The control file with the default delivery.")
    me_file: str = Field(description="The control file with the name of this host.")
    program: list[str] = Field(description="The server of one connection.")
    user: str = Field(description="Account of the server; empty for that of whoever starts it.")
    group: str
    privileged: bool = Field(
        description="Whether its password checker may have to become another user; our own, qmail-chkpw, has not."
    )
    starter: str = Field(
        description="Who starts servers that keep their account: root, or the owner of a private home."
    )
    environment: dict[str, str]
    sockets: list[Socket] = Field(description="Where the MTA or the server listens.")
    host: str = Field(description="The address for tcpserver.")
    with_environment: list[str]
    with_memory: list[str]
    log_program: list[str] = Field(description="The logger of a supervised service, with what makes it qmaill.")
    log_config: list[str] = Field(description="Lines of the logger's configuration, where it has one.")


class ServiceOptions:
    """The pairs of --set, before it is known which services there are."""

    def __init__(self, pairs: tuple[str, ...], services: tuple[str, ...]) -> None:
        self.common: dict[str, str] = {}
        self.special: dict[str, dict[str, str]] = {service: {} for service in services}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            service, dot, inner = key.partition(".")
            if not equals or (dot and service not in self.special):
                raise usage_error(f"--set {pair}: {PAIR}; the services are {', '.join(services)}")
            if (inner if dot else key) not in Settings.model_fields:
                raise usage_error(f"--set {pair}: nothing is called so; --settings lists the keys")
            if dot:
                self.special[service][inner] = value
            else:
                self.common[key] = value

    def keys(self) -> set[str]:
        """Every key that was set, for whatever service."""
        return set(self.common).union(*self.special.values())

    def settings(self, service: str, defaults: dict[str, object]) -> Settings:
        """The settings of one service.

        Fails: Refusal (wrong usage).
        """
        try:
            return Settings.model_validate(defaults | self.common | self.special[service])
        except ValidationError as errors:
            first = errors.errors()[0]
            key = str(first["loc"][0])
            message = first["msg"].removeprefix("Value error, ")
            raise usage_error(f"--set {key}={first['input']}: {message}") from errors


def option_of(pairs: Iterable[str], key: str) -> str:
    """The value of a key that is set for all services; "" where it is not."""
    return next((pair.partition("=")[2] for pair in pairs if pair.partition("=")[0] == key), "")
