"""A model repository on the Hub, seen through huggingface_hub: one commit, file by file, and its cache.

The client is imported when the first file is fetched. Local folders are the business of ``files.py``.
"""

import os
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path, PurePosixPath

from robertakit.errors import NotFound

__all__ = ["THE_HUB", "Repository", "default_cache", "endpoint", "is_hub_name", "is_offline"]

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_LONGEST_NAME = 96  # characters, by the Hub's own rule
THE_HUB = "https://huggingface.co"
_TRUE = ("1", "ON", "YES", "TRUE")


@dataclass(slots=True)
class Repository:
    """A model repository on the Hub, at one revision, seen through huggingface_hub."""

    name: str
    revision: str
    token: str | bool | None
    cache: Path
    offline: bool
    force_download: bool
    subfolder: str
    commit: str | None = None
    known: dict[str, Path | None] = field(default_factory=dict)
    reached: bool | None = None  # None: not asked yet

    def fetch(self, filename: str) -> Path | None:
        """Return the cached file, downloaded if need be; None where the repository has no such file."""
        where = f"{self.subfolder}/{filename}" if self.subfolder not in ("", ".") else filename
        if where not in self.known:
            self.known[where] = self._download(where)
        return self.known[where]

    def _download(self, where: str) -> Path | None:
        from huggingface_hub import errors, hf_hub_download

        asked = not self.offline and (self._is_cached(where) or self._is_reached(where))
        if self.force_download and not (self.offline or asked):
            raise self._not_found(
                "the Hub cannot be reached", "leave out force_download to take what is cached"
            )
        try:
            found = hf_hub_download(
                self.name,
                where,
                revision=self.commit
                or self.revision,  # one commit for all files, whatever is pushed meanwhile
                token=self.token,
                cache_dir=self.cache,
                local_files_only=not asked,
                force_download=self.force_download and asked,
                endpoint=endpoint(),
            )
        except errors.LocalEntryNotFoundError as error:  # not in the cache, and the Hub was not reached
            if self.snapshot() is not None:
                return None
            raise self._not_found(
                "the Hub was not asked" if self.offline else "the Hub cannot be reached"
            ) from error
        except errors.EntryNotFoundError:
            return None
        except errors.GatedRepoError as error:
            raise self._not_found("the repository is gated", "accept its terms and pass token") from error
        except errors.RepositoryNotFoundError as error:
            raise self._not_found("the Hub has no such repository", "pass token if it is private") from error
        except errors.RevisionNotFoundError as error:
            raise self._not_found(f"the repository has no revision '{self.revision}'") from error
        except Exception as error:  # the client's HTTP library differs by release, and so do its exceptions
            reason = str(error).partition("\n")[0]
            raise self._not_found(f"the Hub answered '{type(error).__name__}: {reason}'") from error
        path = Path(found)
        self.commit = self.commit or path.parents[len(PurePosixPath(where).parts) - 1].name
        return path

    def _is_cached(self, where: str) -> bool:
        """Whether the cache has a file: where the Hub does not answer, the client takes that one at once."""
        folder = self._snapshot()
        return not self.force_download and folder is not None and (folder / where).exists()

    def _is_reached(self, where: str) -> bool:
        """Whether the Hub answers at all, whatever it says. It is asked once, and again after two short pauses.

        The client by itself repeats each question for 23 seconds, for every file that the cache has not.
        """
        if self.reached is None:
            from huggingface_hub import hf_hub_url
            from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

            ask = import_module("huggingface_hub.utils").http_backoff  # exported there at run time only
            url = hf_hub_url(self.name, where, revision=self.revision, endpoint=endpoint())
            self.reached = False
            # The client's HTTP library differs by release, and so do its exceptions.
            with suppress(Exception):
                ask(
                    "HEAD", url, timeout=HF_HUB_ETAG_TIMEOUT,
                    max_retries=2, base_wait_time=0.5, retry_on_status_codes=(),
                )  # fmt: skip
                self.reached = True
        return self.reached

    def snapshot(self) -> Path | None:
        """Return the cache's folder of this revision and subfolder, or None where it has nothing of it."""
        root = self._snapshot()
        folder = None if root is None else root / self.subfolder
        return folder if folder is not None and folder.is_dir() else None

    def _snapshot(self) -> Path | None:
        storage = self.cache / f"models--{self.name.replace('/', '--')}"
        reference = storage / "refs" / self.revision
        commit = self.commit or (reference.read_text().strip() if reference.is_file() else self.revision)
        folder = storage / "snapshots" / commit
        return folder if folder.is_dir() else None

    def _not_found(self, reason: str, hint: str = "check the name and the connection") -> NotFound:
        tried = f"no folder '{self.name}', nothing under that name in the cache '{self.cache}'"
        part = f" at revision '{self.revision}'" * (self.revision != "main")
        part += f" with subfolder '{self.subfolder}'" * bool(self.subfolder)
        return NotFound(
            given=f"'{self.name}'{part} was not found: {tried}, and at {endpoint() or THE_HUB} {reason}",
            hint=hint,
        )


def is_hub_name(name: str) -> bool:
    """Whether a name can be a repository's: ``model`` or ``organisation/model``, and no path.

    Example:
        >>> is_hub_name("FacebookAI/roberta-base"), is_hub_name("./model"), is_hub_name("a/b/c")
        (True, False, False)
    """
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None and ".." not in name


def endpoint() -> str | None:
    """Return the address of the Hub that the environment names, None for the client's own."""
    return os.environ.get("HF_ENDPOINT") or None


def is_offline() -> bool:
    """Whether the environment forbids asking the Hub."""
    return any(
        os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def default_cache() -> Path:
    """Return the Hub cache that the environment names, the retired variables of transformers included."""
    for variable in ("TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE"):
        if value := os.environ.get(variable):
            warnings.warn(
                f"{variable} is honoured; its name today is HF_HUB_CACHE", FutureWarning, stacklevel=3
            )
            return _expanded(value)
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(variable):
            return _expanded(value)
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return _expanded(home) / "hub"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser()
