"""Checks for the tests; the first one is the example of docs/filters.md."""

import asyncio
import time

from eqmail_core.filters.api import Accept, AddHeader, Defer, Refuse


class Doorman:
    """Refuses a recipient, defers a sender, and stamps what has a subject."""

    def mail(self, context):
        if context.sender.endswith("@slow.test"):
            return Defer("come back in an hour")
        return None

    async def recipient(self, context):
        await asyncio.sleep(0)
        if context.recipient.startswith("secret@"):
            return Refuse("nobody here by that name", status="5.1.1")
        return None

    def message(self, context):
        for name, value in context.message.headers:
            if name.lower() == "subject" and "virus" in value:
                return Refuse("no viruses, please")
        text = b"".join(context.message.body())
        return AddHeader("X-Doorman", f"{context.ip} {len(text)}\n{len(context.recipients)}")


class _Stamp:
    async def connected(self, context):
        return [AddHeader("X-Client", context.host), None]

    def hello(self, context):
        return AddHeader("X-Helo", context.helo)

    def data(self, context):
        return (AddHeader("X-To", ",".join(context.recipients)),)


stamp = _Stamp()


class Raises:
    """A mistake."""

    def recipient(self, context):
        return 1 / 0


class Sleeps:
    """Too slow, in either way."""

    def mail(self, context):
        if context.sender == "plain@a.test":
            time.sleep(3)

    async def recipient(self, context):
        await asyncio.sleep(3)


class Nonsense:
    """No answer."""

    def recipient(self, context):
        return "yes"


class Accepts:
    """Likes everybody."""

    def connected(self, context):
        return Accept()

    hello = mail = recipient = data = message = connected


class Lends:
    """Lets some go anywhere."""

    def hello(self, context):
        return Accept(relay=context.helo == "friend")

    def mail(self, context):
        return Accept(relay=context.sender == "friend@a.test")

    def recipient(self, context):
        return Accept(relay=context.recipient == "x@friend.test")


class Empty:
    """Without a method."""
