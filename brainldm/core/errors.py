"""Errors that a user meets: one sentence that names the file, what was expected and what was found."""

import errno

REFUSED = {
    errno.ENOSPC: "free some space and start again: what is done is kept",
    errno.EDQUOT: "free some of your quota and start again: what is done is kept",
    errno.EROFS: "choose a folder on a disk that can be written to",
    errno.EACCES: "choose a folder that you may write to",
}

KNOBS = {"sample": "--batch-size", "score": "evaluate.batch_size", "verify": "generate.batch_size"}  # of memory; a stage's is its own


class BrainLDMError(Exception):
    """A mistake of the input or the configuration, not of the program; the command line prints it and exits with 1."""


class ConfigError(BrainLDMError):
    """The configuration has an unknown key or a value out of range."""


class ScanError(BrainLDMError):
    """A scan cannot be used: missing, truncated, not 3-D, empty, not finite."""


class DataError(BrainLDMError):
    """A table, checkpoint, shard or manifest is not what its reader expects."""


class OutputError(DataError):
    """A path may not be written: it holds what the command did not make, is an input, or leads elsewhere."""


def explained(error: Exception, command: str) -> str | None:
    """One sentence with the remedy, for errors that are the input's, the machine's or the disk's; nothing for those of the program."""
    if isinstance(error, BrainLDMError):
        return str(error)
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for this
        more = f", or raise {command}.accumulate" if command.startswith("train_") else ""
        knob = KNOBS.get(command, f"{command}.batch_size")
        return f"{command}: expected room on the GPU, found its memory full; lower {knob}{more}, or use another GPU ({error})"
    if isinstance(error, OSError) and error.errno in REFUSED:
        return f"{error.filename or command}: expected to write there, found that it fails ({error.strerror}); {REFUSED[error.errno]}"
    return None
