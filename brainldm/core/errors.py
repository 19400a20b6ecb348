"""Errors that a user meets: one sentence that names the file, what was expected and what was found."""


class BrainLDMError(Exception):
    """A mistake of the input or the configuration, not of the program; the command line prints it and exits with 1."""


class ConfigError(BrainLDMError):
    """The configuration has an unknown key or a value out of range."""


class ScanError(BrainLDMError):
    """A scan cannot be used: missing, truncated, not 3-D, empty, not finite."""


class DataError(BrainLDMError):
    """A table, checkpoint, shard or manifest is not what its reader expects."""
