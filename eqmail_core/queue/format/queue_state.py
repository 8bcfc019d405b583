"""The states of a message as its files tell them; any other set of files is a fault.

Source: queue.md 3.4; INTERNALS of qmail.
"""

NOTHING, BEING_WRITTEN, ENVELOPE_BEING_WRITTEN, QUEUED, PREPROCESSED = "S1", "S2", "S3", "S4", "S5"

_LEFT_FROM_PREPROCESSING = {"intd", "info", "local", "remote"}


def classify(files: "set[str] | frozenset[str]", is_journaled: bool = False) -> str | None:
    """The state of a message that has files in these folders of the queue; None where no state has them.

    A record in the journal does for mess/N what todo/N does: whatever info/N, local/N and remote/N hold can be made
    again from it.
    """
    if is_journaled and "mess" in files:
        files = files | {"todo"}
    if not files:
        return NOTHING
    if files == {"mess"}:
        return BEING_WRITTEN
    if files == {"mess", "intd"}:
        return ENVELOPE_BEING_WRITTEN
    if {"mess", "todo"} <= files <= {"mess", "todo"} | _LEFT_FROM_PREPROCESSING:
        return QUEUED
    if {"mess", "info"} <= files <= {"mess", "info", "local", "remote", "bounce"}:
        return PREPROCESSED
    return None
