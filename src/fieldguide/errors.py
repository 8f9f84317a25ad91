"""The errors fieldguide raises on purpose.

    FieldguideError
    ├── DatasetError      (ValueError)  the folder, CSV file or pictures cannot be used
    │   └── DecodeError                 one picture cannot be read; carries a reason code
    ├── RecipeError       (ValueError)  a setting of the training is unknown or out of range
    ├── BundleError                     a run, bundle or weight file is damaged, foreign or missing
    ├── EngineError                     the network gives different answers from file and from memory
    └── MissingExtraError (ImportError) an optional part is not installed; says the command that installs it

A message is a sentence of what is wrong, what was received, and a last line `hint: ...` that says what to do.
"""


class FieldguideError(Exception):
    """Base of every error that fieldguide raises on purpose; the command line prints it without a traceback."""


class DatasetError(FieldguideError, ValueError):
    """The folder, the CSV file or the pictures in it cannot be used as they are."""


class DecodeError(DatasetError):
    """One picture cannot be read.

    Attributes:
        reason: a short code that reports count by: `empty`, `truncated`, `not_an_image`, `unsupported`,
            `too_large`, `unreadable`, `needs_heic`, `no_memory`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RecipeError(FieldguideError, ValueError):
    """A setting of a recipe is unknown, of the wrong type, or out of range."""


class BundleError(FieldguideError):
    """A run, a bundle or a weight file is missing, damaged, or not what it claims to be."""


class EngineError(FieldguideError):
    """The network does not give the same answer twice where it must."""


class MissingExtraError(FieldguideError, ImportError):
    """An optional part is not installed; the message holds the command that installs it."""
