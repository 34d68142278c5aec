"""What a run needs before it trains: its recipe on record, a tokenizer, and the text as tokens. No PyTorch.

Every stage leaves its result in the run's folder under its final name only when it is whole, so that a run that was
killed goes on with the stage that it was in.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

from robertakit.configuration import AutoConfig
from robertakit.errors import RecipeError, SourceError
from robertakit.files import text_writer, write_atomically
from robertakit.logging import get_logger
from robertakit.tokenizers import AutoTokenizer, PreTrainedTokenizerBase
from robertakit.training.extension import extend_vocabulary
from robertakit.training.recipe import Recipe, SourceFiles, read_recipe
from robertakit.training.shards import MANIFEST, Corpus
from robertakit.training.sources import Source
from robertakit.training.tokenization import tokenize
from robertakit.training.vocabularies import sample_documents, train_vocabulary

__all__ = [
    "RECIPE",
    "TOKENIZER",
    "have_tokens",
    "held_out_sources",
    "prepare",
    "training_corpora",
    "training_sources",
]

RECIPE, TOKENIZER, TEXT, HELD_OUT = "recipe.toml", "tokenizer", "text", "held-out"


_logger = get_logger(__name__)


def prepare(recipe: Recipe, folder: Path, *, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Do what comes before training, or find it done.

    Args:
        recipe: of the run.
        folder: of the run; made if it is not there.
        progress: called with what is being done, and how much of how much is done.

    Raises:
        RecipeError: the folder holds a run of a recipe that decides something else.
        SourceError, ShardError, TokenizerError, …: of the stages.
    """
    keep_recipe(recipe, folder)
    tokenizer = folder / TOKENIZER
    if not (tokenizer / "tokenizer_config.json").is_file():
        make_tokenizer(recipe, folder)
    _have_tokens("text", training_sources(recipe), tokenizer, folder / TEXT, recipe, progress)
    held_out = held_out_sources(recipe)
    if held_out:
        _have_tokens("held-out text", held_out, tokenizer, folder / HELD_OUT, recipe, progress)


def training_corpora(recipe: Recipe, folder: Path) -> tuple[Corpus, Corpus | None]:
    """Open what ``prepare`` made: the text to train on, and the held-out text, if any; their sizes are checked."""
    held_out = Corpus.open(folder / HELD_OUT, verify=False) if held_out_sources(recipe) else None
    return Corpus.open(folder / TEXT, verify=False), held_out


def keep_recipe(recipe: Recipe, folder: Path) -> None:
    """Write the resolved recipe into the run's folder, or compare it with the one that is there.

    Raises:
        RecipeError: they decide different outcomes; each difference is named.
    """
    path = folder / RECIPE
    if path.is_file():
        changes = read_recipe(path, files=False).changes(recipe)
        if changes:
            raise RecipeError(
                given=f"'{folder}' holds a run of another recipe ({', '.join(changes)})",
                hint="set that back to go on with it, or name another folder",
            )
        if path.read_text(encoding="utf-8") == recipe.toml():
            return
    write_atomically(folder, {RECIPE: text_writer(recipe.toml())})


def make_tokenizer(recipe: Recipe, folder: Path) -> None:
    """Train the run's tokenizer, take it, or extend the one of the checkpoint that training goes on from."""
    chosen, model = recipe.tokenizer, recipe.model
    if chosen.train:
        train_vocabulary(
            training_sources(recipe),
            chosen.train,
            chosen.vocabulary,
            folder / TOKENIZER,
            characters=chosen.characters,
            min_frequency=chosen.min_frequency,
            character_coverage=chosen.character_coverage,
            smoothing=recipe.packing.smoothing,
            seed=recipe.training.seed,
        )
        return
    origin = chosen.origin or model.origin
    assert origin is not None
    _check_rows(recipe)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(origin)
    if model.extend_vocabulary:
        before = len(tokenizer)
        documents = sample_documents(
            training_sources(recipe),
            chosen.characters,
            smoothing=recipe.packing.smoothing,
            seed=recipe.training.seed,
        )
        texts = (paragraph for document in documents for paragraph in document)
        tokenizer = extend_vocabulary(
            tokenizer, texts, model.extend_vocabulary, min_frequency=chosen.min_frequency
        )
        _logger.info("the vocabulary grew from %d to %d pieces", before, len(tokenizer))
    tokenizer.save_pretrained(folder / TOKENIZER)


def _check_rows(recipe: Recipe) -> None:
    """Rows must fit a checkpoint that training goes on from; a new model's were judged with the recipe."""
    if recipe.model.origin is None:
        return
    config = AutoConfig.from_pretrained(recipe.model.origin)
    room = config.max_position_embeddings - config.pad_token_id - 1
    longest = max(length for length, _ in recipe.packing.lengths)
    if longest > room:
        raise RecipeError(
            given=f"packing.lengths with rows of {longest} tokens",
            expected=f"at most {room}, which is what '{recipe.model.origin}' has positions for",
        )


def training_sources(recipe: Recipe) -> list[Source]:
    """Return the sources to train on, the held-out share of each left out."""
    return [_source(one, (recipe.held_out.share, 1.0)) for one in recipe.sources]


def held_out_sources(recipe: Recipe) -> list[Source]:
    """Return the held-out sources; none where the recipe holds nothing out."""
    held_out = recipe.held_out
    if held_out.share:
        return [_source(one, (0.0, held_out.share)) for one in recipe.sources]
    if held_out.files:
        return [
            Source(files=(file,), format=held_out.format, field=held_out.field) for file in held_out.files
        ]
    return []


def _source(section: SourceFiles, share: tuple[float, float]) -> Source:
    settings = {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}
    return Source(**settings, share=share)


def _have_tokens(
    what: str,
    sources: list[Source],
    tokenizer: Path,
    folder: Path,
    recipe: Recipe,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    """Tokenize, or check what was tokenized; files of text that are gone by then are not missed."""
    if (folder / MANIFEST).is_file() and not _are_there(sources):
        Corpus.open(folder)
        return
    tell = None if progress is None else partial(progress, what)
    tokenize(sources, tokenizer, folder, workers=recipe.training.workers, progress=tell)


def _are_there(sources: list[Source]) -> bool:
    try:
        return all(source.paths() for source in sources)
    except SourceError:
        return False


def have_tokens(folder: Path) -> bool:
    """Return whether a run's text to train on is tokenized: its files need not be there any more."""
    return (folder / TEXT / MANIFEST).is_file()
