"""The exception tree, and the one way a message is built: what was given, what was expected, what to do.

RobertakitError
├─ ConfigError (ValueError)
├─ InputError (ValueError)
│  ├─ TooLong
│  ├─ NoMask
│  └─ BadShape
├─ ArgumentError (TypeError)
├─ RecipeError (ValueError)
├─ TokenizerError (ValueError)
├─ DependencyError (ImportError)
├─ TrainingError (RuntimeError)
├─ SourceError (OSError)
├─ ShardError (OSError)
└─ CheckpointError
   ├─ NotFound (OSError)
   ├─ CorruptFile (OSError)
   ├─ UnsupportedFormat (ValueError)
   ├─ TensorMismatch (RuntimeError)
   └─ SaveFailed (OSError)

Each class doubles as the built-in that a caller expects: existing ``except ValueError`` code goes on working.
"""

import importlib
from collections.abc import Iterable
from types import ModuleType

__all__ = [
    "ArgumentError",
    "BadShape",
    "CheckpointError",
    "ConfigError",
    "CorruptFile",
    "DependencyError",
    "InputError",
    "NoMask",
    "NotFound",
    "RecipeError",
    "RobertakitError",
    "SaveFailed",
    "ShardError",
    "SourceError",
    "TensorMismatch",
    "TokenizerError",
    "TooLong",
    "TrainingError",
    "UnsupportedFormat",
    "listed",
    "require",
]


class RobertakitError(Exception):
    """The root of all errors that this library raises on purpose.

    Args:
        given: what the caller gave, with the name of the file, field or argument and its value.
        expected: what would have been right; may be left out where ``given`` says it all.
        hint: what to do about it; may be left out.

    Example:
        >>> str(InputError(given="id 70000", expected="ids from 0 to 50264", hint="check the tokenizer"))
        'id 70000; expected ids from 0 to 50264; check the tokenizer.'
    """

    def __init__(self, given: str, expected: str = "", hint: str = "") -> None:
        self.given, self.expected, self.hint = given, expected, hint
        parts = [given, f"expected {expected}" if expected else "", hint]
        sentence = "; ".join(part.rstrip(".;") for part in parts if part)
        super().__init__(sentence if sentence.endswith("?") else sentence + ".")

    def __str__(self) -> str:  # OSError and ImportError format their arguments in ways of their own
        return str(self.args[0])

    def __reduce__(self) -> tuple[type["RobertakitError"], tuple[str, str, str]]:
        return type(self), (self.given, self.expected, self.hint)


class ConfigError(RobertakitError, ValueError):
    """A configuration whose fields contradict each other, or that cannot be read."""


class InputError(RobertakitError, ValueError):
    """Ids, labels, masks or texts that the model or tokenizer cannot take."""


class TooLong(InputError):
    """More tokens than the model has positions for."""


class NoMask(InputError):
    """A text for fill-mask without a mask token."""


class BadShape(InputError):
    """Arrays whose shapes do not fit each other or the model."""


class ArgumentError(RobertakitError, TypeError):
    """An argument that does not exist, or that contradicts another."""


class RecipeError(RobertakitError, ValueError):
    """A recipe of pre-training with settings that are unknown, wrong or contradictory, or other than a run's own."""


class TokenizerError(RobertakitError, ValueError):
    """Tokenizer files that are missing, malformed, or of another class."""


class DependencyError(RobertakitError, ImportError):
    """A package that an extra would install is absent."""


class SourceError(RobertakitError, OSError):
    """A file of training text that is missing, cut off, damaged, or of another kind than was said."""


class ShardError(RobertakitError, OSError):
    """Token shards that are missing, damaged, made of something else, or that cannot be written."""


class TrainingError(RobertakitError, RuntimeError):
    """A run of training that cannot begin, go on or be resumed as it was asked to."""


class CheckpointError(RobertakitError):
    """Anything that is wrong with a checkpoint on disk or on the Hub."""


class NotFound(CheckpointError, OSError):
    """No such folder, file or repository."""


class CorruptFile(CheckpointError, OSError):
    """A file that is truncated, lies about its contents, or tries to run code."""


class UnsupportedFormat(CheckpointError, ValueError):
    """A file in a format or dtype that is not read."""


class TensorMismatch(CheckpointError, RuntimeError):
    """Tensors that are missing, unexpected or of another shape than the configuration says."""


class SaveFailed(CheckpointError, OSError):
    """A checkpoint that could not be written; the old one is still whole."""


def listed(names: Iterable[object], most: int = 10) -> str:
    """Return names sorted and joined by commas, cut after ``most`` with a count of the rest.

    Example:
        >>> listed(["b", "a", "c"], most=2)
        'a, b (+1 more)'
    """
    ordered = sorted(str(name) for name in names)
    rest = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" (+{rest} more)" if rest > 0 else "")


def require(module: str, *, extra: str, needed_for: str) -> ModuleType:
    """Import an optional package, or raise one sentence that names the extra.

    Args:
        module: import name, for example ``"torch"``.
        extra: the extra of robertakit that installs it.
        needed_for: what the caller asked for, for example ``"RobertaModel"``.

    Raises:
        DependencyError: the package is not installed.

    Example:
        >>> require("json", extra="torch", needed_for="an example").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise  # the package is there and lacks something of its own: hiding that would send users astray
        raise DependencyError(
            given=f"{needed_for} needs {module}, which is not installed",
            hint=f"install it with: pip install 'robertakit[{extra}]'",
        ) from error
