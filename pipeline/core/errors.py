"""Errors that a person can act on: what is wrong, where, and what to do about it."""


class ImprimaturError(Exception):
    """Bad input or usage. The message names the file and the field; `fix` says what to do. Exit code 2."""

    exit_code = 2

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message

    def __reduce__(self) -> tuple[type["ImprimaturError"], tuple[str, str]]:
        return type(self), (self.message, self.fix)  # crosses process boundaries whole


class NeedsPerson(ImprimaturError):
    """The work is done as far as it may go without a person's decision. Exit code 1."""

    exit_code = 1


class EnvironmentFault(ImprimaturError):
    """The machine is at fault: a full disk, a missing program, a read-only folder. Exit code 3."""

    exit_code = 3
