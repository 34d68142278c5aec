"""Pre-training from a recipe to a model that can be given away: a straight line of stages, each of which can be killed.

recipe → tokenizer → text as tokens → model → loop → checkpoint, tokenizer, card, report

A run's folder holds ``recipe.toml`` (resolved), ``tokenizer/``, ``text/`` and ``held-out/`` (tokens), ``checkpoints/``,
``log.jsonl``, ``report.html``, and at the end ``model/``, an ordinary checkpoint that every loader takes. The same call
goes on from whatever is there.
"""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from robertakit.errors import require

require("torch", extra="train", needed_for="pre-training")

import torch  # noqa: E402

from robertakit.auto import AutoModelForMaskedLM  # noqa: E402
from robertakit.configuration import RobertaConfig  # noqa: E402
from robertakit.files import text_writer, write_atomically  # noqa: E402
from robertakit.seeding import set_seed  # noqa: E402
from robertakit.tokenizers import AutoTokenizer  # noqa: E402
from robertakit.torch.language_models import RobertaForMaskedLM  # noqa: E402
from robertakit.training.checkpoints import Checkpoints  # noqa: E402
from robertakit.training.extension import extend_embeddings, spellings  # noqa: E402
from robertakit.training.logs import LOG, RunLog, read_log  # noqa: E402
from robertakit.training.loop import Loop  # noqa: E402
from robertakit.training.loop_settings import LoopSettings  # noqa: E402
from robertakit.training.masking import Masking  # noqa: E402
from robertakit.training.neighbour_start import look_at_neighbours  # noqa: E402
from robertakit.training.packing import Packing  # noqa: E402
from robertakit.training.places import Place  # noqa: E402
from robertakit.training.preparation import TOKENIZER, prepare, training_corpora  # noqa: E402
from robertakit.training.prompts import AnsweringStep, AnsweringTask  # noqa: E402
from robertakit.training.recipe import Recipe  # noqa: E402
from robertakit.training.report import REPORT, write_report  # noqa: E402
from robertakit.training.run_lock import alone_in  # noqa: E402
from robertakit.training.shards import Corpus  # noqa: E402
from robertakit.training.trained_card import trained_card  # noqa: E402

__all__ = ["MODEL", "Pretrained", "pretrain"]

CHECKPOINTS, MODEL = "checkpoints", "model"


@dataclass(frozen=True)
class Pretrained:
    """What a run left behind.

    Attributes:
        folder: of the run.
        model: folder of the trained model; None where the run was stopped by a signal before its end.
        report: the page.
        step: updates that were done.
        stopped: what stopped the run; None where it came to its end.
        figures: of the last evaluation.
    """

    folder: Path
    model: Path | None
    report: Path
    step: int
    stopped: str | None
    figures: Mapping[str, object]


def pretrain(
    recipe: Recipe,
    folder: str | Path,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    shown: bool = True,
) -> Pretrained:
    r"""Pre-train a model, or go on with it.

    Under ``torchrun`` every process makes this call; the first one prepares, writes and tells.

    Args:
        recipe: what ``read_recipe`` gave.
        folder: of the run; made if it is not there. One that holds a run of the same recipe is gone on with.
        progress: called by the first process with what is being prepared, and how much of how much is done.
        shown: whether the first process shows the training on the standard error.

    Raises:
        TrainingError: another process trains in the folder.
        RecipeError: the folder holds a run of another recipe, or prompts or rows do not fit the model.
        SourceError, ShardError, CheckpointError, …: as of the stages.

    Example:
        A recipe that trains for two updates on a few words:

        >>> from tempfile import mkdtemp
        >>> from robertakit.training.recipe import read_recipe
        >>> folder = Path(mkdtemp())
        >>> _ = (folder / "text.txt").write_text("The cat sat on the mat.\n\nThe dog sat by the door.\n" * 9)
        >>> _ = (folder / "recipe.toml").write_text(
        ...     'tokenizer = { train = "byte-level-bpe", vocabulary = 270 }\n'
        ...     'model = { hidden_size = 8, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 8 }\n'
        ...     'training = { steps = 2, batch_sequences = 4, learning_rate = 1e-3, warm_up = 0 }\n'
        ...     f'sources = [{{ files = "{folder.as_posix()}/text.txt" }}]'
        ... )
        >>> done = pretrain(read_recipe(folder / "recipe.toml", ["training.device=cpu"]), folder / "run", shown=False)
        >>> AutoModelForMaskedLM.from_pretrained(done.model).config.vocab_size
        270
    """
    folder = Path(folder)
    training = recipe.training
    with Place.here(training.parallel, training.device) as place, ExitStack() as held:
        place.once(lambda: held.enter_context(alone_in(folder)))
        place.once(lambda: prepare(recipe, folder, progress=progress))
        corpus, held_out = training_corpora(recipe, folder)
        model = first_model(recipe, folder)
        task = masked_lm(recipe, corpus, held_out, model.config, place)
        tell = partial(tell_of, recipe, folder) if place.first else None
        task.ask(recipe.held_out.prompts, AutoTokenizer.from_pretrained(folder / TOKENIZER), tell)
        step = AnsweringStep(model)
        if training.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        if training.compile:
            step.compile_encoder(by_layer=training.parallel == "fsdp")
        loop = Loop(
            task,
            step,
            loop_settings(recipe),
            place,
            Checkpoints(folder / CHECKPOINTS, place, keep=training.keep),
            RunLog(folder, writes=place.first, tensorboard=recipe.output.tensorboard),
            identity=identity(recipe, corpus, model.config),
            shown=shown,
        )
        reached = loop.run()
        if reached.stopped is None:
            weights = place.state_for_export(loop.step)
            place.once(lambda: export(recipe, folder, model.config, weights, corpus))
        place.once(lambda: tell_of(recipe, folder))
    rows = read_log(folder / LOG)
    judged = next((row for row in reversed(rows) if row["event"] == "evaluate"), {})
    done = folder / MODEL if reached.stopped is None else None
    return Pretrained(folder, done, folder / REPORT, reached.step, reached.stopped, judged)


def first_model(recipe: Recipe, folder: Path) -> RobertaForMaskedLM:
    """Return the model that training begins with: new, or the checkpoint's with the vocabulary of the run."""
    chosen = recipe.model
    tokenizer = AutoTokenizer.from_pretrained(folder / TOKENIZER)
    if chosen.origin is None:
        config = chosen.config(len(tokenizer))
        set_seed(recipe.training.seed)
        model = cast(RobertaForMaskedLM, AutoModelForMaskedLM.from_config(config))
        if chosen.start == "neighbours":
            look_at_neighbours(model)
        return model
    model = cast(RobertaForMaskedLM, AutoModelForMaskedLM.from_pretrained(chosen.origin, **chosen.fields))
    if chosen.extend_vocabulary:
        extend_embeddings(model, spellings(AutoTokenizer.from_pretrained(chosen.origin), tokenizer))
    return model


def masked_lm(
    recipe: Recipe, corpus: Corpus, held_out: Corpus | None, config: RobertaConfig, place: Place
) -> AnsweringTask:
    """Return the task that a recipe describes."""
    training, packing, masking = recipe.training, recipe.packing, recipe.masking
    keep, random, stay = masking.split
    return AnsweringTask(
        corpus,
        config,
        packing=Packing(packing.form, packing.lengths, packing.smoothing),
        masking=Masking(masking.rate, (keep, random, stay), masking.whole_words),
        seed=training.seed,
        batch_rows=training.batch_sequences,
        batch_tokens=training.batch_tokens,
        micro_batch_tokens=training.micro_batch_tokens,
        held_out=held_out,
        held_out_rows=recipe.held_out.rows,
        place=place,
    )


def loop_settings(recipe: Recipe) -> LoopSettings:
    """Return the loop's settings: those of ``[training]`` that have its names."""
    training = recipe.training
    shared = {field.name for field in dataclasses.fields(LoopSettings)}
    told = {
        field.name: getattr(training, field.name)
        for field in dataclasses.fields(training)
        if field.name in shared
    }
    return LoopSettings(**told, tensorboard=recipe.output.tensorboard)


def identity(recipe: Recipe, corpus: Corpus, config: RobertaConfig) -> dict[str, object]:
    """Return what decides the weights beside the loop's settings, for the checkpoints to remember."""
    packing, masking = recipe.packing, recipe.masking
    return {
        "text": [
            [source.name, len(source.tokens), source.weight, source.language] for source in corpus.sources
        ],
        "model": {
            name: value for name, value in config.to_diff_dict().items() if name != "transformers_version"
        },
        "packing": [packing.form, [list(one) for one in packing.lengths], packing.smoothing],
        "masking": [masking.rate, list(masking.split), masking.whole_words],
        "batch": [recipe.training.batch_sequences, recipe.training.batch_tokens],
    }


def export(
    recipe: Recipe,
    folder: Path,
    config: RobertaConfig,
    weights: Mapping[str, torch.Tensor] | None,
    corpus: Corpus,
) -> None:
    """Write the trained model: weights, configuration, tokenizer, card."""
    assert weights is not None
    model = cast(RobertaForMaskedLM, AutoModelForMaskedLM.from_config(config))
    model.load_state_dict(dict(weights))
    if recipe.output.weights == "float16":
        model = model.half()
    target = folder / MODEL
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder / TOKENIZER).save_pretrained(target)
    name = recipe.output.name or folder.name
    card = trained_card(recipe, corpus, config, type(model).__name__, read_log(folder / LOG), name)
    write_atomically(target, {"README.md": text_writer(card)})


def tell_of(recipe: Recipe, folder: Path) -> None:
    """Write the report of what the log has so far."""
    rows = read_log(folder / LOG) if (folder / LOG).is_file() else []
    title = recipe.output.name or folder.name
    write_report(folder / REPORT, rows, recipe.toml(), title=title)
