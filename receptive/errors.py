"""Bad input, told in one line: what was given, what was expected, how to mend it."""


class InputError(ValueError):
    """A network, image or command that cannot be read; the message names it and the remedy."""


def first_line(error: BaseException) -> str:
    """An exception's kind and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
