"""Errors for a person, and the exit codes."""

import enum


class Exit(enum.IntEnum):
    """What the program says to its caller."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    DID_NOT_FIT = 3
    INTERRUPTED = 130


class FleetError(Exception):
    """Something that could not be carried out: what, and the way out."""

    code = Exit.FAILED


class BadInput(FleetError):
    """A value that is not allowed: the thing, the value, what is allowed."""

    code = Exit.BAD_INPUT

    def __init__(self, thing: str, value: object, allowed: str):
        super().__init__(f'{thing} "{value}": must be {allowed}')
