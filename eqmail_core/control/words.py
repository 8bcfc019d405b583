"""Settings that are one of a few words."""

from eqmail_core.control.setting import Line


class Word(Line):
    """A line that is one of `words`; for anything else the default is in force."""

    kind = "word"

    def __init__(
        self,
        manual: str,
        *,
        words: tuple[bytes, ...],
        default: bytes | None,
        env: str = "",
        used_by: tuple[str, ...] = (),
        since: str = "",
    ) -> None:
        super().__init__(manual, default=default, env=env, used_by=used_by, since=since)
        self.words = words

    def parse(self, text: bytes) -> "tuple[bytes | None, list[str]]":
        """Take the first line; remark on what is none of the words."""
        value, remarks = super().parse(text)
        if value in self.words:
            return value, remarks
        known = ", ".join(repr(word.decode()) for word in self.words)
        return self.default, [*remarks, f"is none of {known}; it is as if the file were not there"]
