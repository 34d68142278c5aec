"""Recipes: a small TOML file that says everything which decides what a pre-training run gives.

``read_recipe`` judges the whole file before anything runs, and tells all problems in one message. What may stand in it
is in ``recipe_sections.py``.
"""

import glob
import inspect
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from robertakit.errors import RecipeError, RobertakitError
from robertakit.training.recipe_sections import (
    FAMILIES,
    SECTIONS,
    HeldOut,
    Masking,
    Model,
    Output,
    Packing,
    Recipe,
    SourceFiles,
    Tokenizer,
    Training,
)
from robertakit.training.recipe_values import nearest, read_table, shown

__all__ = [
    "HeldOut",
    "Masking",
    "Model",
    "Output",
    "Packing",
    "Recipe",
    "SourceFiles",
    "Tokenizer",
    "Training",
    "read_recipe",
]

#: Fields of a configuration that the tokenizer decides.
_OF_THE_TOKENIZER = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")
#: Fields of a configuration that may be other ones where training goes on.
_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_SMALLEST_VOCABULARY = {"byte-level-bpe": 261, "unigram": 8}


def read_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = (), *, files: bool = True) -> Recipe:
    r"""Read a recipe and judge it whole.

    Args:
        path: the TOML file.
        overrides: ``section.key=value`` each, with values in TOML (a bare word stands for a string); they replace what
            the file has. ``sources.0.weight=2`` reaches into a list.
        files: whether files of text must be there; False once they are tokenized.

    Raises:
        RecipeError: one message with every problem: unknown settings (with the one that is spelled most like it),
            values of a wrong kind or out of range, files that are not there, contradictions.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> _ = (folder / "a.txt").write_text("Some text.")
        >>> _ = (folder / "recipe.toml").write_text(
        ...     'tokenizer = { train = "byte-level-bpe", vocabulary = 300 }\n'
        ...     'training = { steps = 10, batch_sequences = 8, learning_rate = 1e-3, warm_up = 2 }\n'
        ...     f'sources = [{{ files = "{folder.as_posix()}/*.txt" }}]'
        ... )
        >>> read_recipe(folder / "recipe.toml", ["training.steps=20"]).training.steps
        20
        >>> try:
        ...     read_recipe(folder / "recipe.toml", ["training.setps=20", "masking.rate=15"])
        ... except RecipeError as error:
        ...     print(str(error).partition("\n")[2])
        - masking.rate is 15; expected a number above 0 and below 1
        - training.setps is unknown; did you mean 'steps'?
    """
    tables = _load(Path(path))
    problems: list[str] = []
    for override in overrides:
        _apply(override, tables, problems)
    recipe = _read(tables, problems)
    if recipe is not None:
        problems += _contradictions(recipe)
    problems += _absent_files(tables) if files else []
    if problems or recipe is None:
        what = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RecipeError(
            given=f"the recipe '{path}' has {what}:\n" + "\n".join(f"- {one}" for one in problems)
        )
    return recipe


def _load(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(given=f"there is no recipe '{path}'", hint="name a TOML file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(
            given=f"the recipe '{path}' cannot be read ({error})", expected="a file in TOML"
        ) from error


def _apply(override: str, tables: dict[str, object], problems: list[str]) -> None:
    """Put one ``section.key=value`` into the tables."""
    name, equals, written = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        problems.append(f"{override!r} sets nothing; expected section.key=value")
        return
    try:
        parsed: dict[str, object] = tomllib.loads(f"value = {written}")
    except tomllib.TOMLDecodeError:
        bare = written.strip()
        if not bare or bare[0] in "[{\"'" or "\n" in bare:
            problems.append(f"{override!r}: {written!r} is no value in TOML")
            return
        parsed = {"value": bare}
    if list(parsed) != ["value"]:
        problems.append(f"{override!r} has more than one value")
        return
    at: object = tables
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(at, list) and key.isdigit() and int(key) < len(at):
            if last:
                at[int(key)] = parsed["value"]
            at = at[int(key)]
        elif isinstance(at, dict):
            if last:
                at[key] = parsed["value"]
            at = at.setdefault(key, {})
        else:
            problems.append(f"{override!r}: there is no {'.'.join(keys[: depth + 1])} to set")
            return


def _read(tables: Mapping[str, object], problems: list[str]) -> Recipe | None:
    """Read each section; the problems of all are told."""
    for name in tables:
        if name not in SECTIONS:
            near = nearest(name, SECTIONS)
            problems.append(
                f"[{name}] is unknown; "
                + (f"did you mean [{near}]?" if near else f"the sections are {', '.join(SECTIONS)}")
            )

    def table(name: str) -> object:
        return tables.get(name, {})

    listed = tables.get("sources", [])
    listed = listed if isinstance(listed, list) else [listed]
    if not listed:
        problems.append("there is no [[sources]]; expected at least one, with the files to train on")
    tokenizer = read_table(Tokenizer, table("tokenizer"), "tokenizer", problems)
    sources = [read_table(SourceFiles, one, f"sources.{i}", problems) for i, one in enumerate(listed)]
    held_out = read_table(HeldOut, table("held_out"), "held_out", problems)
    model = read_table(Model, table("model"), "model", problems, rest="fields")
    packing = read_table(Packing, table("packing"), "packing", problems)
    masking = read_table(Masking, table("masking"), "masking", problems)
    training = read_table(Training, table("training"), "training", problems)
    output = read_table(Output, table("output"), "output", problems)
    if not (tokenizer and held_out and model and packing and masking and training and output):
        return None
    return Recipe(
        tokenizer=tokenizer,
        sources=tuple(source for source in sources if source),
        held_out=held_out,
        model=model,
        packing=packing,
        masking=masking,
        training=training,
        output=output,
    )


def _contradictions(recipe: Recipe) -> list[str]:
    """What is wrong between settings that are right each by itself."""
    return [*_of_tokenizer(recipe), *_of_model(recipe), *_of_text(recipe), *_of_training(recipe.training)]


def _of_tokenizer(recipe: Recipe) -> list[str]:
    tokenizer, model = recipe.tokenizer, recipe.model
    if model.origin is not None:
        if tokenizer.train or tokenizer.origin:
            return ["[tokenizer] stands beside model.from, whose tokenizer is used; leave it out"]
        return []
    if bool(tokenizer.train) == bool(tokenizer.origin):
        return ["[tokenizer] needs one of train (a kind of vocabulary) and from (a tokenizer to take)"]
    problems = []
    right = FAMILIES[model.family][1]
    if tokenizer.train and tokenizer.train != right:
        problems.append(
            f"tokenizer.train is {tokenizer.train!r} and model.family {model.family!r}, whose tokenizer reads "
            f"{right!r}; change one of them"
        )
    if tokenizer.train and tokenizer.vocabulary < _SMALLEST_VOCABULARY[tokenizer.train]:
        least = _SMALLEST_VOCABULARY[tokenizer.train]
        problems.append(
            f"tokenizer.vocabulary is {tokenizer.vocabulary}; {tokenizer.train} has at least {least}"
        )
    return problems


def _of_model(recipe: Recipe) -> list[str]:
    model = recipe.model
    if model.origin is not None:
        odd = [key for key in model.fields if key not in _DROPOUT]
        odd += ["family"] if model.family != "roberta" else []
        odd += ["start"] if model.start != "published" else []
        return [
            f"model.{key} stands beside model.from, whose configuration is used; leave it out" for key in odd
        ]
    problems = []
    if model.extend_vocabulary:
        problems.append("model.extend_vocabulary needs model.from: a new model's vocabulary is trained whole")
    known = [name for name in inspect.signature(model.config_class).parameters if name != "kwargs"]
    for key in model.fields:
        if key in _OF_THE_TOKENIZER:
            problems.append(f"model.{key} is the tokenizer's to say; leave it out")
        elif key not in known:
            near = nearest(key, [*known, "from", "family", "start", "extend_vocabulary"])
            problems.append(
                f"model.{key} is no setting and no field of the configuration"
                + (f"; did you mean {near!r}?" if near else "")
            )
    if problems:
        return problems
    try:
        config = model.config(vocab_size=recipe.tokenizer.vocabulary)
    except RobertakitError as error:
        return [f"[model]: {str(error).rstrip('.')}"]
    longest = max(length for length, _ in recipe.packing.lengths)
    room = config.max_position_embeddings - config.pad_token_id - 1
    if longest > room:
        problems.append(
            f"packing.lengths asks for rows of {longest} tokens, and model.max_position_embeddings "
            f"{config.max_position_embeddings} has room for {room}"
        )
    return problems


def _of_text(recipe: Recipe) -> list[str]:
    problems = []
    held_out, split = recipe.held_out, recipe.masking.split
    if held_out.share and held_out.files:
        problems.append("held_out.share and held_out.files are both set; expected one of them")
    if len(split) != 3 or abs(sum(split) - 1) > 1e-6:
        problems.append(f"masking.split is {shown(split)}; expected three shares that add up to 1")
    if abs(sum(share for _, share in recipe.packing.lengths) - 1) > 1e-9:
        problems.append("packing.lengths has shares that do not add up to 1")
    if recipe.packing.smoothing is not None:
        lacking = [str(i) for i, source in enumerate(recipe.sources) if source.language is None]
        if lacking:
            problems.append(
                f"packing.smoothing draws by language, and sources {', '.join(lacking)} have no language"
            )
    problems += [
        f"held_out.prompts has {shown(prompt)}; expected one <mask> in each"
        for prompt in held_out.prompts
        if prompt.count("<mask>") != 1
    ]
    names = [source.name for source in recipe.sources if source.name]
    problems += [
        f"two sources are named {name!r}" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    return problems


def _of_training(training: Training) -> list[str]:
    problems = []
    if (training.batch_sequences is None) == (training.batch_tokens is None):
        problems.append("[training] needs one of batch_sequences (packed rows) and batch_tokens")
    if (training.steps is None) == (training.minutes is None):
        problems.append("[training] needs one of steps (updates) and minutes (of the clock)")
    elif training.steps is None and training.warm_up >= 1:
        problems.append(f"training.warm_up is {training.warm_up:g}; beside minutes, expected a share below 1")
    elif training.steps is not None and training.warm_up > training.steps:
        steps = f"training.steps {training.steps}"
        problems.append(
            f"training.warm_up is {training.warm_up:g} and {steps}; expected a warm-up within the run"
        )
    return problems


def _absent_files(tables: Mapping[str, object]) -> list[str]:
    """Patterns without a file; read off the tables, so that they are told beside everything else."""
    named: list[tuple[str, object]] = []
    sources = tables.get("sources", [])
    for index, source in enumerate(sources if isinstance(sources, list) else [sources]):
        if isinstance(source, Mapping):
            named.append((f"sources.{index}.files", source.get("files", [])))
    held_out = tables.get("held_out", {})
    if isinstance(held_out, Mapping):
        named.append(("held_out.files", held_out.get("files", [])))
    problems = []
    for where, patterns in named:
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            if isinstance(pattern, str) and pattern and not any(map(os.path.isfile, _matches(pattern))):
                problems.append(f"{where}: there is no file {shown(pattern)}")
    return problems


def _matches(pattern: str) -> list[str]:
    return [pattern] if Path(pattern).is_file() else glob.glob(pattern, recursive=True)  # noqa: PTH207 (takes absolute patterns, too)
