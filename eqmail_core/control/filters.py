"""The kinds of the control files that name filters of the SMTP server."""

from eqmail_core.control.filter_entries import FilterEntry, milter_address, parse_filter
from eqmail_core.control.setting import Control
from eqmail_core.text.lines import non_empty_lines

MILTER_TIMEOUT_S = 30
CHECK_TIMEOUT_S = 10


class FilterList(Control["list[FilterEntry] | None"]):
    """Lines WHAT [timeout=SECONDS] [default=tempfail|accept|reject], in the order in which they are asked."""

    kind = "list of filters"
    timeout_s = CHECK_TIMEOUT_S

    def parse(self, text: bytes) -> "tuple[list[FilterEntry] | None, list[str]]":
        """List the filters; remark on words that make no sense, which are passed over."""
        entries, remarks = [], []
        for line in non_empty_lines(text):
            if not line.strip():
                continue
            entry, wrong = parse_filter(line, self.timeout_s)
            entries.append(entry)
            remarks += [f"{_shown(word)} is no timeout=SECONDS, default=tempfail, accept or reject" for word in wrong]
            remarks += self.objections(entry)
        return entries or None, remarks

    def objections(self, entry: FilterEntry) -> list[str]:
        """What is wrong with the name of a filter."""
        return []


class Milters(FilterList):
    """Filters named by their addresses."""

    kind = "list of milters"
    timeout_s = MILTER_TIMEOUT_S

    def objections(self, entry: FilterEntry) -> list[str]:
        """Say so where the address is none; nothing can be asked there, and `default` holds."""
        if milter_address(entry.name) is not None:
            return []
        return [f"{_shown(entry.name)} is not an address such as unix:/run/milter.sock or inet:127.0.0.1:11332"]


def _shown(word: bytes) -> str:
    return repr(word.decode("latin-1"))
