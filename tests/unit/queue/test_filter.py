"""Which messages an administrator means."""

import pytest

from eqmail_core.queue.admin.filter import BadFilter, parse_filter

NOW = 1_700_000_000.0


class Message:
    def __init__(self) -> None:
        self.number = 12
        self.birth = NOW - 7200
        self.size = 3000
        self.sender = b"Joe@src.example"
        self.state = "waiting"
        self.recipients = [
            ("remote", True, b"a@done.org"),
            ("remote", False, b"b@Example.org"),
            ("local", False, b"c@here.org"),
        ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "domain=example.org",
        "domain=*.org channel=local",
        "domain=example.org channel=remote",
        "recipient=B@example.org",
        "sender=joe@*",
        "senderdomain=src.example",
        "age>1h age<=2h",
        "size>2K size<1M",
        "size!=1",
        "number=12",
        "state=waiting state!=held",
        "'sender=*@src.example'",
    ],
)
def test_true_conditions_match(text: str) -> None:
    assert parse_filter(text).matches(Message(), NOW)


@pytest.mark.parametrize(
    "text",
    [
        "domain=done.org",
        "domain=example.org channel=local",
        "sender=joe",
        "sender=",
        "age>2h",
        "size>2K size>1M",
        "state=held",
        "sender=[Jj]oe@src.example",
    ],
)
def test_false_conditions_do_not_match(text: str) -> None:
    assert not parse_filter(text).matches(Message(), NOW)


def test_the_null_sender_can_be_selected() -> None:
    message = Message()
    message.sender = b""
    assert parse_filter("sender=").matches(message, NOW)
    assert not parse_filter("sender!=").matches(message, NOW)


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("domain", "write FIELD=VALUE"),
        ("=x", "write FIELD=VALUE"),
        ("colour=red", "there is no field 'colour'"),
        ("age>soon", "30s, 10m, 4h, 1d"),
        ("age>", "a value is missing"),
        ("size>1X", "1000, 20K, 5M"),
        ("size>" + "9" * 5000 + "K", "1000, 20K, 5M"),
        ("number=" + "9" * 5000, "12345"),
        ("domain>a", "only = and !="),
        ("channel=both", "none of local, remote"),
        ("state=ill", "none of waiting, held"),
        ("sender='a", "No closing quotation"),
    ],
)
def test_mistakes_are_explained(text: str, output: str) -> None:
    with pytest.raises(BadFilter, match=output.replace("(", r"\(")):
        parse_filter(text)
