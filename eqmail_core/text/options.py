"""Command-line options in qmail's grammar: letters after a dash, joined or separate.

A word "-" ends the options and is kept; a word that begins with "--" ends them and is dropped.

Source: getopt(3) of the qmail family (sgetopt.c, subgetopt.c).
"""


class BadOption(Exception):
    """An unknown option, or one without its argument.

    `text`: the message without the program name.
    """

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("latin-1"))
        self.text = text


def program_name(argv: list[bytes]) -> bytes:
    """Return the last component of argv[0], which begins every message of a program."""
    return argv[0].rpartition(b"/")[2] if argv else b""


def parse_options(argv: list[bytes], letters: bytes) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """Split argv into options, each a letter and its argument, and the other words.

    `argv`: begins with the program name.
    In `letters`, : after a letter means that it takes an argument, :: that its argument is the rest of its word.
    Fails: BadOption.
    """
    found = []
    words = argv[1:]
    while words and words[0][:1] == b"-" and words[0] != b"-":
        word = words.pop(0)
        if word.startswith(b"--"):
            break
        at = 1
        while at < len(word):
            letter = word[at : at + 1]
            at += 1
            known, _, behind = letters.partition(letter)
            if letter == b":" or known == letters:
                raise BadOption(b"illegal option -- " + letter)
            argument = b""
            if behind[:1] == b":":
                argument, at = word[at:], len(word)
                if not argument and behind[:2] != b"::":
                    if not words:
                        raise BadOption(b"option requires an argument -- " + letter)
                    argument = words.pop(0)
            found.append((letter, argument))
    return found, words
