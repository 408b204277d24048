"""The failures, each with a hint and an exit code; imports nothing of ours.

ThampiError
├── ConfigError       2  thampi.toml, a flag or a dependency file is wrong; nothing was touched
├── BundleError       3  the saved model is missing, damaged or cannot be loaded
├── BuildError        4  the image could not be built, run or pushed
├── CloudError        5  AWS refused or failed
├── PredictionError   6  the model answered with an error
└── ReleaseError      7  a release was tried and refused; what was live still is
"""


class ThampiError(Exception):
    """Something that the user can act on: what happened to which thing, and what to do about it.

    `hint` has no default: whoever raises decides what the user should do next, or says None on purpose.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        # A training script that lets it through shows the hint too; the command line prints the two by itself.
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class ConfigError(ThampiError):
    """What the user wrote is wrong; nothing was touched."""

    exit_code = 2


class BundleError(ThampiError):
    """A saved model is missing, damaged or cannot be loaded."""

    exit_code = 3


class BuildError(ThampiError):
    """Docker could not build, run or push the image."""

    exit_code = 4


class CloudError(ThampiError):
    """AWS refused or failed."""

    exit_code = 5


class PredictionError(ThampiError):
    """The model answered with an error."""

    exit_code = 6


class ReleaseError(ThampiError):
    """A release was tried and refused; what was live still is."""

    exit_code = 7
