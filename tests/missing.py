"""What a test needs and this machine has not."""


class MissingServiceError(Exception):
    """A program that a test needs is not installed. Skipped by name; an error where CI is set."""
