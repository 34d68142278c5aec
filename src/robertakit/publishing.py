"""Pushing models, configurations and tokenizers to the Hub: one way for all of them, by huggingface_hub's means.

A push is one commit: the Hub takes all of it or nothing. What is in the files is the business of who saves them.
"""

import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from robertakit.errors import ArgumentError, RobertakitError, SaveFailed
from robertakit.hub import THE_HUB, endpoint, is_hub_name, is_offline

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

__all__ = ["Publication", "PushToHub"]

CARD = "README.md"


class PushToHub:
    """What gives a class ``push_to_hub``, and its ``save_pretrained`` the arguments of a push.

    A class that has a card, or files that new ones make obsolete, overrides ``_card`` and ``_obsolete``.
    """

    save_pretrained: Callable[..., object]

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        tags: Sequence[str] | None = None,
        use_temp_dir: bool | None = None,
        use_auth_token: str | bool | None = None,
        **saving: object,
    ) -> str:
        """Upload what ``save_pretrained`` writes, in one commit, to a repository that is made if need be.

        Files of an earlier push that would be loaded in place of the new ones (shards, ``tokenizer.json``) go away
        in the same commit; all others stay. A model brings a card (``README.md``) where there is none; to one that is
        there only the ``tags`` are added that it lacks.

        Args:
            repo_id: ``"organisation/name"``, or ``"name"`` in your own namespace.
            commit_message: default ``"Upload "`` and the name of the class.
            commit_description: more about the commit.
            private: of a new repository; None leaves it to the organisation, which mostly means public.
            token: access token; None and True mean ``HF_TOKEN`` or the stored one.
            revision: branch, made from the main one if it is not there; default the main one.
            create_pr: open a pull request in place of changing the branch.
            tags: of the card, beside those that ``add_model_tags`` gave a model.
            use_temp_dir: None or True: the files are written into a temporary folder.
            use_auth_token: older name of ``token``.
            **saving: arguments of ``save_pretrained``, for example ``max_shard_size`` of a model.

        Returns:
            The address of the commit.

        Raises:
            SaveFailed: no token or no right to write, no connection, a repository that is not as ``private`` says.
                The files on the Hub are as before; a repository that was made for this push is left empty.
            ArgumentError: an argument that is unknown or contradicts another.
        """
        if use_temp_dir is False:
            raise ArgumentError(
                given="use_temp_dir=False",
                hint="save_pretrained(folder, push_to_hub=True, repo_id=…) pushes and keeps the files",
            )
        import tempfile  # here: who only loads need not wait for it

        publication = Publication.open(
            self, repo_id, commit_message=commit_message, commit_description=commit_description,
            private=private, token=token, revision=revision, create_pr=create_pr, tags=tags,
            use_auth_token=use_auth_token,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **saving)
            return publication.upload(folder, [path.name for path in Path(folder).iterdir()])

    def _publication(
        self, folder: str | os.PathLike[str], push_to_hub: bool, arguments: Mapping[str, object]
    ) -> "Publication | None":
        """What ``save_pretrained`` calls before it writes: a push that is ready to begin, or None.

        Args:
            folder: where the files are saved; the repository has its name by default.
            push_to_hub: whether to push.
            arguments: the keywords of ``save_pretrained`` that only a push knows.
        """
        known = set(inspect.signature(Publication.open).parameters) - {"source"}
        for name in arguments:
            if name not in known or not push_to_hub:
                raise ArgumentError(
                    given=f"{'' if name in known else 'unknown '}argument {name!r} of save_pretrained",
                    expected="it together with push_to_hub=True"
                    if name in known
                    else "a documented argument",
                )
        start: Callable[..., Publication] = Publication.open
        named = {"repo_id": Path(folder).resolve().name, **arguments}
        return start(self, **named) if push_to_hub else None

    def _card(self, repo_id: str) -> str | None:
        """Return the text of a card for a repository without one; None where this class writes none."""
        return None

    def _obsolete(self, there: Collection[str], written: Collection[str]) -> list[str]:
        """Return the files among those ``there`` that must not stand beside those ``written``."""
        return []


@dataclass(frozen=True, slots=True)
class Publication:
    """A push to a repository that is there and may be written to, as far as could be seen without writing.

    Attributes:
        source: what is pushed.
        api: huggingface_hub's client, with token and endpoint.
        repo_id: the full name.
        revision: branch; None for the main one.
        create_pr: whether the commit becomes a pull request.
        message: title and text of the commit.
        tags: those that the card must have.
        there: names of the repository's files.
    """

    source: PushToHub
    api: "HfApi"
    repo_id: str
    revision: str | None
    create_pr: bool
    message: tuple[str, str | None]
    tags: tuple[str, ...]
    there: frozenset[str]

    @classmethod
    def open(
        cls,
        source: PushToHub,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        tags: Sequence[str] | None = None,
        use_auth_token: str | bool | None = None,
    ) -> Self:
        """Make the repository and the branch if they are not there; arguments as of ``PushToHub.push_to_hub``."""
        from huggingface_hub import HfApi

        from robertakit import __version__

        if not is_hub_name(repo_id):
            raise ArgumentError(given=f"repo_id={repo_id!r}", expected="'name', or 'organisation/name'")
        if isinstance(tags, str):
            raise ArgumentError(given=f"tags={tags!r}", expected="a list of tags")
        if use_auth_token is not None and token not in (None, use_auth_token):
            raise ArgumentError(given="token and use_auth_token, which differ", expected="token alone")
        with _told(repo_id):
            api = HfApi(
                endpoint(),
                token=_token(repo_id, use_auth_token if token is None else token),
                library_name="robertakit",
                library_version=__version__,
            )
            full = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            found = _revision(api, full, revision)
        if private is not None and found.private not in (None, private):
            raise SaveFailed(
                given=f"the repository '{full}' is there already and {'' if found.private else 'not '}private, "
                f"which private={private} does not change",
                hint="leave out private, or change it in the repository's settings",
            )
        there = frozenset(file.rfilename for file in found.siblings or ())
        message = (commit_message or f"Upload {type(source).__name__}", commit_description)
        of_model: Sequence[str] = getattr(source, "model_tags", None) or ()
        wanted = tuple(dict.fromkeys([*of_model, *(tags or ())]))
        return cls(source, api, full, revision, create_pr, message, wanted, there)

    def upload(self, folder: str | os.PathLike[str], names: Collection[str]) -> str:
        """Commit files of a folder, with the card where it is needed; return the commit's address.

        Args:
            folder: the files; a card that stands there goes along to a repository that has none.
            names: those that were written.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with _told(self.repo_id):
            contents: dict[str, bytes | Path] = {name: Path(folder, name) for name in sorted(names)}
            card = self._new_card(Path(folder, CARD))
            if card is not None:
                contents[CARD] = card.encode()
            commit = self.api.create_commit(
                self.repo_id,
                [
                    *(CommitOperationAdd(name, content) for name, content in contents.items()),
                    *(CommitOperationDelete(name) for name in self.source._obsolete(self.there, names)),
                ],
                commit_message=self.message[0],
                commit_description=self.message[1],
                revision=self.revision,
                create_pr=self.create_pr,
            )
        return str(commit.pr_url or commit.commit_url)

    def _new_card(self, local: Path) -> str | None:
        """Return the text of the card that belongs into the commit, None where the repository's own stays."""
        import tempfile

        from huggingface_hub import ModelCard

        if CARD in self.there:
            if not self.tags:
                return None
            with tempfile.TemporaryDirectory() as cache:
                path = self.api.hf_hub_download(self.repo_id, CARD, revision=self.revision, cache_dir=cache)
                text = Path(path).read_text(encoding="utf-8")
        elif local.is_file():
            text = local.read_text(encoding="utf-8")
        else:
            own = self.source._card(self.repo_id)
            if own is None and not self.tags:
                return None
            text = own or "---\nlibrary_name: transformers\n---\n"
        card = ModelCard(text)
        known = card.data.get("tags") or []
        lacking = [tag for tag in self.tags if tag not in known]
        if not lacking:
            return None if CARD in self.there else text
        card.data["tags"] = [*known, *lacking]
        return str(card)


def _token(repo_id: str, given: str | bool | None) -> str:
    from huggingface_hub import get_token

    token = given if isinstance(given, str) else None if given is False else get_token()
    if not token:
        raise SaveFailed(
            given=f"pushing to '{repo_id}' needs an access token, and there is none",
            hint="pass token=…, set HF_TOKEN, or run: hf auth login",
        )
    if is_offline():
        raise SaveFailed(
            given=f"pushing to '{repo_id}' needs the Hub, which the environment forbids to ask",
            hint="unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE",
        )
    return token


def _revision(api: "HfApi", repo_id: str, revision: str | None) -> "ModelInfo":
    """Return what is known of a repository at a branch, which is made if it is not there."""
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        return api.model_info(repo_id, revision=revision)
    except RevisionNotFoundError:
        if revision is None or revision.startswith("refs/"):
            raise
    api.create_branch(repo_id, branch=revision, exist_ok=True)
    return api.model_info(repo_id, revision=revision)


@contextmanager
def _told(repo_id: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one sentence."""
    try:
        yield
    except RobertakitError:
        raise
    except Exception as error:  # the client's HTTP library differs by release, and so do its exceptions
        reason, hint = _reason(error)
        raise SaveFailed(
            given=f"pushing to '{repo_id}' at {endpoint() or THE_HUB} failed: {reason}; no file there was changed",
            hint=hint,
        ) from error


def _reason(error: Exception) -> tuple[str, str]:
    """Return what went wrong in words, and what to do."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # what befell a large file, behind its name
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = getattr(error, "server_message", None) or str(error).strip().partition("\n")[0]
    if status == 401:
        return "the token is not accepted", "make a token that may write, in the settings of your account"
    if status == 403:
        return "the token may not write there", "check the name, and what the token may do"
    if status is None and hasattr(error, "request"):  # the HTTP library's own: there was no answer
        return f"the Hub cannot be reached ({type(error).__name__})", "check the connection"
    return f"{type(error).__name__}: {said}", ""
