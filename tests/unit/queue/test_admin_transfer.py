"""All messages of a queue come into another one, each once, however often the way there is cut off."""

import os
from pathlib import Path

import pytest

from eqmail_core.queue.admin import transfer as queue_transfer
from eqmail_core.queue.admin.repair import repair
from eqmail_core.queue.admin.transfer import TransferLog, survey_queue, transfer
from eqmail_core.site.layout import LAYOUTS, NETQMAIL
from eqmail_core.site.site import Site

CHANGING = ("open", "link", "rename", "unlink", "fchmod", "utime")

Content = tuple[object, ...]


def made(home: Path, layout: str = "eqmail-1.09", split: int = 5) -> Site:
    site = Site(home=str(home), layout=LAYOUTS[layout], split=split, single_user=True)
    os.makedirs(os.path.dirname(site.queue.root), exist_ok=True)
    repair(site)
    return site


def put(site: Site, body: bytes, birth: int, **files: bytes) -> int:
    """Queue a message as its files: `info`, `local`, `remote`, `bounce`, `todo` by content."""
    draft = Path(site.queue.pid, "draft")
    draft.write_bytes(body)
    number = os.stat(draft).st_ino
    draft.rename(site.queue.mess(number))
    os.utime(site.queue.mess(number), (birth, birth))
    queue = site.queue
    places = {
        "info": queue.info(number),
        "local": queue.channel("local", number),
        "remote": queue.channel("remote", number),
        "bounce": queue.bounce(number),
        "todo": queue.todo(number),
        "intd": queue.intd(number),
    }
    for delay, (name, content) in enumerate(files.items()):
        Path(places[name]).write_bytes(content)
        os.utime(places[name], (birth + 100 * delay, birth + 100 * delay))
    return number


def some_messages(site: Site, count: int = 8) -> None:
    """Messages in every state that counts: new, waiting on both channels, partly done, failed, finished."""
    for index in range(count):
        body, birth = b"Subject: %d\n\n%b\n" % (index, os.urandom(6).hex().encode() * index), 1_000_000 + index
        sender = b"Fs%d@x.example\0" % index
        shapes: list[dict[str, bytes]] = [
            {"todo": b"u7\0p8\0" + sender + b"Ta@b\0Tc@d\0", "intd": b"u7\0p8\0" + sender + b"Ta@b\0Tc@d\0"},
            {"info": sender, "local": b"Da@b\0Tc@b\0", "remote": b"Tr@far\0"},
            {"info": sender, "remote": b"Dr@far\0Ts@far\0", "bounce": b"<a@b>:\nno\n\n"},
            {"info": sender},
        ]
        put(site, body, birth, **shapes[index % len(shapes)])


def contents(site: Site) -> list[Content]:
    """What the messages of a queue are, apart from their numbers."""
    found: list[Content] = []
    for message in survey_queue(site).messages:
        files = {name: path for name, path in message.files.items() if not (message.is_unprocessed and name != "mess")}
        if message.is_unprocessed:
            files["todo"] = message.files["todo"]
        texts = tuple(
            (name, Path(path).read_bytes(), os.stat(path).st_mtime_ns) for name, path in sorted(files.items())
        )
        found.append(texts)
    return sorted(found, key=repr)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_messages_are_the_same_in_every_layout_and_back(tmp_path: Path, layout: str) -> None:
    old, new, back = made(tmp_path / "old", layout, 3), made(tmp_path / "new"), made(tmp_path / "back", layout, 7)
    some_messages(old)
    before = contents(old)
    assert (
        transfer(survey_queue(old).messages, new.queue, TransferLog(str(tmp_path / "there")), lambda count: None) == 8
    )
    assert (
        transfer(survey_queue(new).messages, back.queue, TransferLog(str(tmp_path / "back.book")), lambda count: None)
        == 8
    )
    assert contents(old) == contents(new) == contents(back) == before
    for site in (new, back):
        for message in survey_queue(site).messages:
            mess = message.files["mess"]
            assert os.stat(mess).st_ino == int(os.path.basename(mess)), "a number is an inode number"
            assert os.path.dirname(mess).endswith(f"/{int(os.path.basename(mess)) % site.split}")
    assert os.listdir(new.queue.pid) == []


def test_what_was_brought_over_is_not_brought_again(tmp_path: Path) -> None:
    old, new = made(tmp_path / "old", "netqmail"), made(tmp_path / "new")
    some_messages(old)
    book = str(tmp_path / "book")
    transfer(survey_queue(old).messages, new.queue, TransferLog(book), lambda count: None)
    put(old, b"late\n", 5, info=b"F\0", local=b"Ta@b\0")
    Path(book).write_text(Path(book).read_text() + "17.3.4 cut o")
    assert transfer(survey_queue(old).messages, new.queue, TransferLog(book), lambda count: None) == 1
    assert transfer(survey_queue(old).messages, new.queue, TransferLog(book), lambda count: None) == 0
    assert contents(new) == contents(old)


def test_originals_are_removed_on_request_and_after_their_copies_are_recorded(tmp_path: Path) -> None:
    old, new = made(tmp_path / "old", "netqmail"), made(tmp_path / "new")
    some_messages(old)
    before = contents(old)
    transfer(survey_queue(old).messages, new.queue, TransferLog(str(tmp_path / "book")), lambda count: None, move=True)
    assert survey_queue(old).messages == []
    assert contents(new) == before


def test_messages_in_wrong_folders_and_with_wrong_numbers_are_found(tmp_path: Path) -> None:
    old, new = made(tmp_path / "old", "netqmail", 5), made(tmp_path / "new")
    some_messages(old)
    before = contents(old)
    message = survey_queue(old).messages[0]
    for path in message.files.values():
        if os.path.dirname(path)[-1].isdigit():
            folder = os.path.dirname(os.path.dirname(path))
            os.rename(path, f"{folder}/{(int(os.path.basename(path)) + 1) % 5}/{os.path.basename(path)}")
    transfer(survey_queue(old).messages, new.queue, TransferLog(str(tmp_path / "book")), lambda count: None)
    assert contents(new) == before


def test_submissions_that_never_ended_are_no_messages(tmp_path: Path) -> None:
    old = made(tmp_path / "old", "netqmail")
    put(old, b"half", 5)
    put(old, b"half", 5, intd=b"u0\0")
    Path(old.queue.info(99)).write_bytes(b"F\0")
    found = survey_queue(old)
    assert (found.messages, len(found.unfinished), found.remains) == ([], 2, [99])


def killed_at(step: int, old: Site, new: Site, book: str) -> bool:
    pid = os.fork()
    if not pid:
        count = 0

        def before(name: str) -> None:
            original = getattr(os, name)

            def counted(*values: object, **options: object) -> object:
                nonlocal count
                if count == step:
                    os._exit(9)
                count += 1
                return original(*values, **options)

            setattr(os, name, counted)

        for name in CHANGING:
            before(name)
        transfer(survey_queue(old).messages, new.queue, TransferLog(book), lambda count: None, move=step % 2 == 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_an_interrupted_transfer_loses_and_duplicates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_transfer, "GROUP", 3)
    monkeypatch.setattr(queue_transfer, "sync_file_system", lambda fd: None)
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    step = 0
    while True:
        old, new = made(tmp_path / f"old{step}", NETQMAIL.name, 2), made(tmp_path / f"new{step}", split=2)
        some_messages(old, 8)
        before = contents(old)
        book = str(tmp_path / f"book{step}")
        was_killed = killed_at(step, old, new, book)
        transfer(survey_queue(old).messages, new.queue, TransferLog(book), lambda count: None)
        assert contents(new) == before, f"cut off at {step}"
        assert os.listdir(new.queue.pid) == []
        if not was_killed:
            break
        step += 1 if step < 60 else 7
    assert step > 60
