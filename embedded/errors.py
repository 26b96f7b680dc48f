"""Why the embedded suite could not start: sentences a person can act on, reasons a program can test."""


class EmbeddedError(Exception):
    """A refusal of the embedded suite. `reason` is UPPER_SNAKE and stable, the message says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
