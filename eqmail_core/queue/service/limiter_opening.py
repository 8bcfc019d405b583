"""Opens the limits of submitters for the queue service: who is exempt, where their use is kept, and who is told."""

import asyncio
import os
import time

from eqmail_core.control.controls import Controls
from eqmail_core.event_loop.worker_thread import WorkerThread
from eqmail_core.mail.dates import date822
from eqmail_core.queue.format.exit_codes import explain
from eqmail_core.queue.limits.limiter import SubmissionLimiter
from eqmail_core.queue.limits.notice import NoticeAddresses, notice_envelope, render_notice
from eqmail_core.queue.limits.usage import Excess
from eqmail_core.queue.service.submission_context import SubmissionContext
from eqmail_core.site.site import Site
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.system.role_ids import submitter_uids, uid_of


def open_limiter(
    name: str, site: Site, loop: asyncio.AbstractEventLoop, context: SubmissionContext, controls: Controls
) -> SubmissionLimiter:
    """Return the limits of a site; notices are queued through `context`.

    Fails: ControlError.
    """
    own_uid = os.getuid()
    host = controls.bouncehost
    addresses = NoticeAddresses(
        b"%b@%b" % (controls.bouncefrom, host), b"%b@%b" % (controls.doublebounceto, controls.doublebouncehost)
    )

    def failed(code: int) -> None:
        say_seldom(name, f"warning: cannot queue a notice about limits: {explain(code)[1:].decode()}")

    def tell(excess: Excess) -> None:
        now = time.time()
        text = render_notice(addresses, excess, date822(int(now)), b"%d.%d.limit" % (time.time_ns(), os.getpid()))
        # Not from within the submission that is over the limit.
        loop.call_soon(context.queue_own, own_uid, notice_envelope(addresses), text, failed)

    workers: list[WorkerThread] = []

    def worker() -> WorkerThread:
        if not workers:
            workers.append(WorkerThread("usage", loop.call_soon_threadsafe))
        return workers[0]

    return SubmissionLimiter(
        name,
        f"{site.control}/{Controls.submissionlimits.file}",
        site.queue.usage,
        {uid_of(site, "qmaild")},
        {own_uid, *submitter_uids(site)},
        time,
        loop.call_later,
        lambda job, then: worker().run(job, then),
        tell,
    )
