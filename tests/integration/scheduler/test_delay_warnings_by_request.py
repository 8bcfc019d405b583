"""Delay warnings name only recipients whose NOTIFY allows it, and none is sent without such recipients."""

from pathlib import Path

import pytest

from eqmail_core.scheduler.core import SchedulerCore, SchedulerSettings
from eqmail_core.scheduler.ports import InlineExecutor, Job
from eqmail_core.site.site import Site
from tests.support.scheduler_harness import RecordedCleaner, RecordedDeliverer, RecordedInjector


@pytest.mark.parametrize(
    ("dsn", "named"),
    [(b"", [b"a@other.net", b"b@other.net"]), (b"r0:d: r13:sf:", [b"a@other.net"]), (b"r0:n: r13:f:", [])],
)
def test_delay_notifications_follow_notify(tmp_path: Path, dsn: bytes, named: list[bytes]) -> None:
    site = Site(home=str(tmp_path), single_user=True)
    for name, text in (("me", "me.test"), ("locals", "me.test"), ("delaywarning", "60")):
        (tmp_path / "control").mkdir(exist_ok=True)
        (tmp_path / "control" / name).write_text(text + "\n")
    info = b"Fs@x\0" + (b"W %b\0" % dsn if dsn else b"")
    paths = site.queue
    files = (
        (paths.info(7), info),
        (paths.channel("remote", 7), b"Ta@other.net\0Tb@other.net\0"),
        (paths.mess(7), b"\n"),
    )
    for path, content in files:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)
    injector = RecordedInjector()
    deliverers = (RecordedDeliverer(), RecordedDeliverer())
    core = SchedulerCore(
        site, SchedulerSettings(site), deliverers, (1, 1), RecordedCleaner(paths), injector, InlineExecutor()
    )
    info = core.files.info(7)
    job = Job(core.scheduler.recorder, info.identity, 1, info.sender, core.files.recipients(7, 1), False)
    job.dsn, job.age = info.dsn, 61
    core._deferred(job)
    notices = b"".join(text for _, _, text in injector.bounces)
    assert [it for it in (b"a@other.net", b"b@other.net") if b"Final-Recipient: rfc822; " + it in notices] == named
    assert len(injector.bounces) == bool(named)
