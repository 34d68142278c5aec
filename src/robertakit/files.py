"""Where files come from and how they get to disk: local folders, or the Hub; bounded reading, atomic writing.

What the files mean is decided elsewhere (``configuration``, ``tokenizers``, ``checkpoints``); the Hub's own
ways are in ``hub.py``.
"""

import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from robertakit.errors import ArgumentError, CorruptFile, NotFound, SaveFailed, listed
from robertakit.hub import Repository, default_cache, is_hub_name, is_offline

__all__ = [
    "SAVE_ID",
    "WHERE",
    "Location",
    "Writer",
    "finish_interrupted_save",
    "is_plain_name",
    "locate",
    "read_json",
    "refuse_remote_code",
    "sync_folder",
    "take_where",
    "text_writer",
    "write_atomically",
]

#: Key under which config.json, an index and safetensors metadata carry the id of the save that wrote them.
SAVE_ID = "robertakit_save_id"
#: Arguments of ``locate``, as every ``from_pretrained`` takes them.
WHERE = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
#: Writes the whole content of one file.
Writer = Callable[[BinaryIO], None]

#: Largest index or list of modules that is read; parsed, 3 bytes of JSON can take 64 of memory.
JSON_LIMIT = 3 << 19


# --- where files come from ---


@dataclass(frozen=True, slots=True)
class Location:
    """A place that holds the files of one model: a local folder, or a Hub repository at one revision.

    Attributes:
        name: what the caller gave.
        folder: the local folder, subfolder applied; None for a Hub repository.
        filename: the file itself where the caller named a file and not its folder.
    """

    name: str
    folder: Path | None = None
    filename: str | None = None
    repository: Repository | None = None

    def path_of(self, filename: str) -> Path | None:
        """Return the local path of a file, downloaded if need be; None where there is no such file."""
        if self.repository is not None:
            return self.repository.fetch(filename)
        assert self.folder is not None
        path = self.folder / filename
        return path if path.is_file() else None

    def require(self, filename: str) -> Path:
        """Return the local path of a file.

        Raises:
            NotFound: the place has no such file.
        """
        path = self.path_of(filename)
        if path is None:
            raise NotFound(given=f"{self} has no {filename}", expected=filename, hint=self._holds())
        return path

    @property
    def commit(self) -> str | None:
        """The commit that the files come from; None for a local folder, and before the first file."""
        return self.repository.commit if self.repository else None

    def names(self) -> list[str]:
        """Return the names of the files known to be there: those of the folder, or of the Hub cache."""
        folder = self.repository.snapshot() if self.repository else self.folder
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder else []

    def _holds(self) -> str:
        names = self.names() if self.repository is None else []
        return f"it holds {listed(names)}" if names else "check the name"

    def __str__(self) -> str:
        return f"repository '{self.repository.name}'" if self.repository else f"folder '{self.folder}'"


def locate(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    subfolder: str = "",
    force_download: bool = False,
) -> Location:
    """Find the folder or Hub repository that a name means; files come one by one, when they are asked for.

    A local folder wins over a Hub name. A save that was interrupted there is finished first. A folder in the
    layout of sentence-transformers (``modules.json``, no ``config.json``) leads to its Transformer module.

    Args:
        name_or_path: a folder, a file in it, or a Hub name such as ``"FacebookAI/roberta-base"``.
        revision: branch, tag or commit; default the main branch. All files come from one commit.
        token: access token, True for the stored one, False for none; default ``HF_TOKEN`` or the stored one.
        cache_dir: the Hub cache; default from the environment (``HF_HUB_CACHE``, ``HF_HOME``).
        local_files_only: use the cache alone; ``HF_HUB_OFFLINE`` and ``TRANSFORMERS_OFFLINE`` mean the same.
        subfolder: folder of the model below the place.
        force_download: fetch again what the cache has.

    Raises:
        NotFound: there is no such folder, repository, revision or subfolder.
        ArgumentError: what was given is no name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     locate(folder).path_of("config.json") is None
        True
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise ArgumentError(given=f"{name_or_path!r} as a place", expected="a folder, or a name on the Hub")
    name = os.fspath(name_or_path)
    # Not pathlib's: it raises for a user that is not there and for a name that is too long, and takes no name at
    # all for the folder one is in.
    expanded = os.path.expanduser(name)  # noqa: PTH111
    path = Path(expanded)
    if os.path.isfile(expanded) and not subfolder:  # noqa: PTH113
        finish_interrupted_save(path.parent)
        return Location(name, path.parent, path.name)
    if os.path.isdir(expanded):  # noqa: PTH112
        return Location(name, _model_folder(path, subfolder))
    if not is_hub_name(name):
        raise NotFound(
            given=f"there is no folder '{name}'", expected="a folder, or a Hub name such as 'org/model'"
        )
    repository = Repository(
        name,
        revision=revision or "main",
        token=token,
        cache=Path(cache_dir).expanduser() if cache_dir is not None else default_cache(),
        offline=local_files_only or is_offline(),
        force_download=force_download,
        subfolder=subfolder,
    )
    if repository.fetch("config.json") is None:
        modules = repository.fetch("modules.json")
        if modules is not None:
            repository.subfolder = str(PurePosixPath(subfolder) / _transformer_module(modules))
    return Location(name, repository=repository)


def take_where(arguments: dict[str, object]) -> dict[str, object]:
    """Take out of ``arguments`` those that say where files are, and return them as ``locate`` takes them.

    Earlier names are understood: ``use_auth_token`` is ``token``, ``resume_download`` says what is always done.

    Raises:
        ArgumentError: what is never done (``trust_remote_code=True``), or done otherwise (``proxies``).

    Example:
        >>> arguments = {"use_auth_token": False, "num_labels": 3}
        >>> take_where(arguments), arguments
        ({'token': False}, {'num_labels': 3})
    """
    where = {name: arguments.pop(name) for name in WHERE if name in arguments}
    refuse_remote_code(arguments.pop("trust_remote_code", None))
    arguments.pop("resume_download", None)
    if arguments.pop("proxies", None):
        raise ArgumentError(given="proxies", hint="set the environment variables HTTP_PROXY and HTTPS_PROXY")
    token = arguments.pop("use_auth_token", None)
    if token is not None and where.get("token") not in (None, token):
        raise ArgumentError(given="token and use_auth_token, which differ", expected="token alone")
    return where if token is None else where | {"token": token}


def refuse_remote_code(trust_remote_code: object) -> None:
    """Raise ArgumentError where a caller asks that code of a checkpoint be run: none ever is."""
    if trust_remote_code:
        raise ArgumentError(
            given=f"trust_remote_code={trust_remote_code!r}",
            expected="None or False",
            hint="nothing that comes with a checkpoint is ever run; leave it out",
        )


def _model_folder(path: Path, subfolder: str) -> Path:
    folder = path / subfolder
    if not folder.is_dir():
        raise NotFound(given=f"folder '{path}' has no subfolder '{subfolder}'", hint="check subfolder")
    finish_interrupted_save(folder)
    if (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        folder = folder / _transformer_module(folder / "modules.json")
        finish_interrupted_save(folder)
    return folder


def _transformer_module(path: Path) -> str:
    """Return the folder of the Transformer module that a sentence-transformers ``modules.json`` names."""
    modules = read_json(path)
    for module in modules if isinstance(modules, list) else ():
        if isinstance(module, dict) and str(module.get("type", "")).rpartition(".")[2] == "Transformer":
            folder = PurePosixPath(str(module.get("path", "")))
            if not folder.is_absolute() and ".." not in folder.parts:
                return str(folder)
    raise CorruptFile(given=f"'{path}' names no Transformer module inside its folder")


def read_json(path: Path, *, limit: int = JSON_LIMIT) -> object:
    """Read a JSON file of bounded size.

    Args:
        path: the file.
        limit: most bytes that are read.

    Raises:
        CorruptFile: larger than ``limit``, not UTF-8, not JSON, or nested too deeply.
    """
    if path.stat().st_size > limit:
        raise CorruptFile(given=f"'{path}' has {path.stat().st_size:,} bytes", expected=f"at most {limit:,}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CorruptFile(given=f"'{path}' is not JSON: {reason}", hint="fetch or write it again") from error


def is_plain_name(name: object) -> bool:
    """Whether a name that stands in a file may be joined to a folder: no separator, no parent, not hidden.

    Example:
        >>> is_plain_name("model-00001-of-00002.safetensors"), is_plain_name("../x"), is_plain_name("/x")
        (True, False, False)
    """
    if not isinstance(name, str) or not 0 < len(name) <= 255 or name.startswith("."):
        return False
    return not any(character in "/\\:" or ord(character) < 32 for character in name)


# --- how files get to disk ---
#
# A save is a redo log. Every file is first written whole under a temporary name and fsynced; then one rename
# puts the commit note (which names the files) in place: before it the old files stand untouched, after it the
# new ones are certain. The renames that follow can be repeated by anyone at any time, and `locate` does so.

_TEMPORARY = ".robertakit-part"
_COMMIT = ".robertakit-commit"


def write_atomically(
    folder: str | os.PathLike[str],
    files: Mapping[str, Writer],
    *,
    remove: Iterable[str] = (),
    approve: Callable[[Mapping[str, Path]], None] | None = None,
) -> None:
    """Write files into a folder so that a kill at any instant leaves all the old ones or all the new ones.

    Modes are the ordinary ones (0666 less the umask), or those of the files that are replaced. A link is
    replaced by a file; what it points to (the Hub cache's blobs) stays as it is. Other files are untouched.

    Args:
        folder: made if it is not there.
        files: plain file name -> function that writes its content.
        remove: names of files of an earlier save that go away, last.
        approve: called with name -> path of the file as it is written and synced, under another name still; what it
            raises ends the save, and leaves no trace of it.

    Raises:
        SaveFailed: the disk refused; the old files stand, or the next ``locate`` finishes the new ones.
    """
    folder = Path(folder)
    if not all(map(is_plain_name, names := [*files, *remove])):
        raise SaveFailed(given=f"file names {listed(names)}", expected="plain names without separators")
    save = os.urandom(8).hex()
    commit = folder / f".{save}{_COMMIT}"
    draft = _temporary(folder, commit.name[1:], save)
    content = {"files": list(files), "remove": [name for name in remove if name not in files]}
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    committed = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        finish_interrupted_save(folder)
        _remove_temporaries(folder)
        try:
            for name, write in files.items():
                _write_durably(_temporary(folder, name, save), write, replaced=folder / name)
            _write_durably(draft, text_writer(json.dumps(content)), replaced=commit)
            if approve is not None:
                approve({name: _temporary(folder, name, save) for name in files})
            sync_folder(folder)
            for name in files:  # another process that saves here may have cleaned them away
                _temporary(folder, name, save).lstat()
            draft.replace(commit)
            committed = True
        finally:
            if not committed:
                _remove_temporaries(folder, save)
                with suppress(OSError):
                    for path in made:
                        path.rmdir()
        sync_folder(folder)
        _finish(folder, commit)
    except OSError as error:
        state = "the next load finishes it" if committed else "what was there before is untouched"
        raise SaveFailed(
            given=f"saving into '{folder}' failed ({error}); {state}", hint="make room and save again"
        ) from error


def finish_interrupted_save(folder: Path) -> None:
    """Finish a save that was cut off after its commit note; do nothing where there is none.

    Raises:
        CorruptFile: a commit note that no save of ours wrote, or a folder that cannot be written.
    """
    for path in list(folder.iterdir()):
        if path.name.endswith(_COMMIT):
            try:
                _finish(folder, path)
            except OSError as error:
                raise CorruptFile(
                    given=f"'{folder}' holds a save that was interrupted and cannot be finished ({error})",
                    hint="make the folder writable, or save again",
                ) from error


def text_writer(text: str) -> Writer:
    """Return a writer of UTF-8 text."""

    def write(file: BinaryIO) -> None:
        file.write(text.encode())

    return write


def _temporary(folder: Path, name: str, save: str) -> Path:
    return folder / f".{name}.{save}{_TEMPORARY}"


def _write_durably(path: Path, write: Writer, *, replaced: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb") as file:
        if hasattr(os, "fchmod"):
            with suppress(FileNotFoundError):
                old = replaced.lstat()
                if stat.S_ISREG(old.st_mode):
                    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        write(file)
        file.flush()
        os.fsync(descriptor)


def _finish(folder: Path, commit: Path) -> None:
    """Do what a commit note says; two processes may do it at once, so what is done already is passed over."""
    try:
        note = read_json(commit)
    except FileNotFoundError:
        return
    files, remove = (note.get("files"), note.get("remove")) if isinstance(note, dict) else (None, None)
    if not (isinstance(files, list) and isinstance(remove, list) and all(map(is_plain_name, files + remove))):
        raise CorruptFile(given=f"'{commit}' is no commit note of a save", hint="delete it")
    save = commit.name[1 : -len(_COMMIT)]
    for name in files:
        with suppress(FileNotFoundError):
            _temporary(folder, name, save).replace(folder / name)
    sync_folder(folder)
    for path in (*(folder / name for name in remove), commit):
        path.unlink(missing_ok=True)
    sync_folder(folder)


def _remove_temporaries(folder: Path, save: str = "") -> None:
    for path in list(folder.iterdir()):
        if path.name.startswith(".") and path.name.endswith(f"{save}{_TEMPORARY}"):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a folder's names durable: what was made, renamed or removed in it survives a power cut."""
    if os.name == "posix":  # elsewhere a folder cannot be opened, and renames are durable by themselves
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
