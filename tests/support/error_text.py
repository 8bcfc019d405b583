"""What an error of the command line looks like: one line, and perhaps a hint on a line of its own."""


def is_one_error(said: str) -> bool:
    """Whether standard error has exactly one error, and nothing but its hint after it."""
    lines = said.splitlines()
    return (
        1 <= len(lines) <= 2
        and lines[0].startswith("eqmail: ")
        and all(line.startswith("hint: ") for line in lines[1:])
        and said.endswith("\n")
    )
