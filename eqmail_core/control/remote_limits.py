"""The kind of the control file with limits for destinations of remote mail."""

from eqmail_core.control.remote_limits_formats import Limit, parse_limits
from eqmail_core.control.setting import Control
from eqmail_core.text.lines import non_empty_lines


class RemoteLimits(Control["dict[bytes, Limit] | None"]):
    """Lines DOMAIN:WORDS with the limits of a destination; None where the file is absent."""

    kind = "map of limits"

    def parse(self, text: bytes) -> "tuple[dict[bytes, Limit] | None, list[str]]":
        """Map the lines; remark on those with words that make no sense, which are passed over."""
        limits, wrong = parse_limits(non_empty_lines(text))
        remarks = [f"{line.decode('latin-1')!r} is not DOMAIN:concurrency=N messages=N rate=N/s" for line in wrong]
        return limits, remarks
