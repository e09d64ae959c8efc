"""Errors that a user can fix: one sentence, no traceback."""


class UserError(Exception):
    """A mistake in a config, a file or a command line.

    The message is one sentence that says what is wrong, where (file, row,
    image, config key) and what to do. The command-line tools print it and
    exit with code 1; as a library, catch it like any exception.
    """
