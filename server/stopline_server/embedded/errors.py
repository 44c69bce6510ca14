"""The one error of this package."""


class EmbeddedError(Exception):
    """An embedded server cannot do what was asked; the message tells the operator what to change."""
