"""The sections of a recipe: the settings of a pre-training run, what each may be, and what it is by default.

``recipe.py`` reads and judges them. A run writes its resolved recipe into its folder, and goes on only under one that
decides the same.

Paths are relative to the folder that the command runs in. Numbers without a unit in their name have it in the
section's documentation.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from robertakit.configuration import PRESETS, RobertaConfig, XLMRobertaConfig
from robertakit.training.recipe_values import (
    choice,
    differences,
    flag,
    many,
    number,
    optional,
    pair,
    plain,
    setting,
    shares,
    text,
    toml,
    whole,
)

__all__ = [
    "FAMILIES",
    "SECTIONS",
    "HeldOut",
    "Masking",
    "Model",
    "Output",
    "Packing",
    "Recipe",
    "SourceFiles",
    "Tokenizer",
    "Training",
]

#: model_type -> (configuration, the vocabularies that its tokenizer reads, the published size that fields default to)
FAMILIES: dict[str, tuple[type[RobertaConfig], str, str]] = {
    "roberta": (RobertaConfig, "byte-level-bpe", "roberta-base"),
    "xlm-roberta": (XLMRobertaConfig, "unigram", "xlm-roberta-base"),
}


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """``[tokenizer]``: a vocabulary to train, or a tokenizer to take.

    Attributes:
        train: train a vocabulary of this kind on the sources.
        origin: (``from`` in the file) take this tokenizer: folder, or name on the Hub.
        vocabulary: ids in all, special tokens included, of a vocabulary that is trained.
        min_frequency: (byte-level BPE) pairs seen fewer times are not merged.
        character_coverage: (unigram) share of the text's characters that get a piece of their own.
        characters: at most this many characters of the sources are read to train the vocabulary, drawn by the
            sources' weights (and by language where ``packing.smoothing`` is set).
    """

    train: str | None = setting(optional(choice("byte-level-bpe", "unigram")), None)
    origin: str | None = setting(optional(text), None, key="from")
    vocabulary: int = setting(whole(8), 50265)
    min_frequency: int = setting(whole(1), 2)
    character_coverage: float = setting(number(above=0, most=1), 0.9995)
    characters: int = setting(whole(1), 500_000_000)


@dataclass(frozen=True, kw_only=True)
class SourceFiles:
    """``[[sources]]``: files of one kind, read as one source.

    Attributes:
        files: paths or globs (``**`` too); text, JSON lines or Parquet, plain or compressed (gzip, xz, zstd).
        name: how the source is called in reports; by default after its first file.
        format: "auto" goes by the files' names.
        field: the text's key in JSON lines, or its column in Parquet.
        weight: passes over the source in an epoch; 0.5 is half of its documents, another half each epoch.
        language: code of the source's language, for smoothing and reports.
        licence: of the text, for the model's card.
        attribution: whom the model's card must name.
    """

    files: tuple[str, ...] = setting(many(text, 1))
    name: str | None = setting(optional(text), None)
    format: str = setting(choice("auto", "text", "lines", "files", "json-lines", "parquet"), "auto")
    field: str = setting(text, "text")
    weight: float = setting(number(above=0), 1.0)
    language: str | None = setting(optional(text), None)
    licence: str | None = setting(optional(text), None, decides=False)
    attribution: str | None = setting(optional(text), None, decides=False)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """``[held_out]``: text that is never trained on, and what is asked of the model as it learns.

    Attributes:
        share: share of each source's documents that is held out, chosen by a hash of the document.
        files: files of held-out text, read as the sources are.
        format: of those files.
        field: the text's key in JSON lines, or its column in Parquet.
        rows: at most this many packed rows of each source are evaluated each time.
        prompts: sentences with ``<mask>`` that the report shows the model's answers to.
    """

    share: float = setting(number(0, below=1), 0.0)
    files: tuple[str, ...] = setting(many(text), ())
    format: str = setting(choice("auto", "text", "lines", "files", "json-lines", "parquet"), "auto")
    field: str = setting(text, "text")
    rows: int = setting(whole(1), 512, decides=False)
    prompts: tuple[str, ...] = setting(many(text), (), decides=False)


@dataclass(frozen=True, kw_only=True)
class Model:
    """``[model]``: a new model, or one that training goes on from.

    Attributes:
        origin: (``from`` in the file) checkpoint to go on from: folder, or name on the Hub.
        family: "roberta" or "xlm-roberta": the kind of a new model.
        start: weights of a new model: "published" (normal), or "neighbours": positions as sines and a first layer
            that looks at the neighbours, with which small models learn sooner (``neighbour_start.py``).
        extend_vocabulary: pieces to train on the sources and to add to the vocabulary of the checkpoint.
        fields: all other keys are fields of the configuration; those left out are as in the family's base size. Beside
            ``from`` only ``hidden_dropout_prob`` and ``attention_probs_dropout_prob`` may stand.
    """

    origin: str | None = setting(optional(text), None, key="from")
    family: str = setting(choice(*FAMILIES), "roberta")
    start: str = setting(choice("published", "neighbours"), "published")
    extend_vocabulary: int = setting(whole(), 0)
    fields: Mapping[str, object] = dataclasses.field(default_factory=dict)

    @property
    def config_class(self) -> type[RobertaConfig]:
        """The configuration's class."""
        return FAMILIES[self.family][0]

    def config(self, vocab_size: int) -> RobertaConfig:
        """Return the configuration of a new model.

        Raises:
            ConfigError, ArgumentError: fields that do not exist, or contradict each other.
        """
        config, _, preset = FAMILIES[self.family]
        return config.from_dict({**PRESETS[preset][1], **self.fields, "vocab_size": vocab_size})


@dataclass(frozen=True, kw_only=True)
class Packing:
    """``[packing]``: how text becomes the model's inputs (Liu et al. 2019, section 4.2).

    Attributes:
        form: "full-sentences" (the paper's choice), "doc-sentences", or "segment-pair" for comparison.
        lengths: tokens of a row at most, special tokens included; a list mixes ``[length, share of documents]``.
        smoothing: exponent α of the languages' shares (Conneau et al. 2020, section 3); absent: natural shares.
    """

    form: str = setting(choice("full-sentences", "doc-sentences", "segment-pair"), "full-sentences")
    lengths: tuple[tuple[int, float], ...] = setting(shares(), ((512, 1.0),))
    smoothing: float | None = setting(optional(number(above=0, most=1)), None)


@dataclass(frozen=True, kw_only=True)
class Masking:
    """``[masking]``: which tokens are predicted (Liu et al. 2019, section 4.1; Devlin et al. 2019, section 3.1).

    Attributes:
        rate: share of the tokens that is predicted.
        split: of those, shares that become ``<mask>``, become a random token, and stay.
        whole_words: choose words, all pieces of each.
    """

    rate: float = setting(number(above=0, below=1), 0.15)
    split: tuple[float, ...] = setting(many(number(0, 1), 3), (0.8, 0.1, 0.1))
    whole_words: bool = setting(flag, False)


@dataclass(frozen=True, kw_only=True)
class Training:
    """``[training]``: the optimisation (Liu et al. 2019, sections 2.4, 3.1, 4.3 and table 9), and how it is run.

    Attributes:
        steps: updates of the weights in all; or leave it out and set ``minutes``.
        minutes: wall-clock minutes in all; the schedule follows the clock, and the run cannot be reproduced.
        batch_sequences: packed rows of a batch, over all processes; gradients are accumulated exactly.
        batch_tokens: in its place: most tokens of a batch, for rows of several lengths (section 4.2).
        micro_batch_tokens: tokens that a process computes at once at most; memory, not the result, depends on it.
        learning_rate: the highest, after the warm-up.
        warm_up: steps in which the rate rises linearly from 0; below 1, a share of the whole run.
        decay: how the rate falls behind the peak: "linear" to 0 as published, "cosine" to 0, or "constant".
        weight_decay: AdamW's, on matrices and embeddings.
        betas: AdamW's.
        epsilon: AdamW's.
        clip: largest norm of the gradient; 0 clips nothing.
        seed: of the first weights, the order of the text, masks and dropout.
        precision: of the arithmetic; weights and their updates are float32. "tf32" is float32 with TF32 products.
        gradient_checkpointing: compute activations twice in place of keeping them.
        compile: use ``torch.compile``.
        deterministic: use algorithms alone that give the same bits each time.
        device: "cpu", "cuda", …; absent: an accelerator where there is one.
        parallel: what several processes do (``torchrun``): "ddp" each hold the model, "fsdp" share it.
        workers: processes that tokenize; 0 takes all cores.
        log_every: steps between lines of the log.
        evaluate_every: steps between evaluations on held-out text; 0 for those at the start and the
            end alone.
        save_every: steps between checkpoints; 0 for those at the start and the end alone.
        keep: checkpoints that are kept.
    """

    steps: int | None = setting(optional(whole(1)), None)
    minutes: float | None = setting(optional(number(above=0)), None)
    batch_sequences: int | None = setting(optional(whole(1)), None)
    batch_tokens: int | None = setting(optional(whole(1)), None)
    micro_batch_tokens: int = setting(whole(1), 8192, decides=False)
    learning_rate: float = setting(number(above=0, most=1))
    warm_up: float = setting(number(0))
    decay: str = setting(choice("linear", "cosine", "constant"), "linear")
    weight_decay: float = setting(number(0, 1), 0.01)
    betas: tuple[float, float] = setting(pair(number(0, below=1)), (0.9, 0.98))
    epsilon: float = setting(number(above=0, below=1), 1e-6)
    clip: float = setting(number(0), 0.0)
    seed: int = setting(whole(0, 2**32 - 1), 1)
    precision: str = setting(choice("fp32", "tf32", "bf16", "fp16"), "fp32")
    gradient_checkpointing: bool = setting(flag, False, decides=False)
    compile: bool = setting(flag, False, decides=False)
    deterministic: bool = setting(flag, False, decides=False)
    device: str | None = setting(optional(text), None, decides=False)
    parallel: str = setting(choice("auto", "ddp", "fsdp"), "auto", decides=False)
    workers: int = setting(whole(), 0, decides=False)
    log_every: int = setting(whole(1), 50, decides=False)
    evaluate_every: int = setting(whole(), 1000, decides=False)
    save_every: int = setting(whole(), 1000, decides=False)
    keep: int = setting(whole(1), 2, decides=False)


@dataclass(frozen=True, kw_only=True)
class Output:
    """``[output]``: what a run leaves behind.

    Attributes:
        name: of the model, on its card and report.
        weights: dtype of the saved weights.
        tensorboard: write TensorBoard's logs too (extra ``train``).
        licence: of the trained model, for its card: a name that the Hub knows, such as "cc-by-sa-4.0".
    """

    name: str | None = setting(optional(text), None, decides=False)
    weights: str = setting(choice("float32", "float16"), "float32", decides=False)
    tensorboard: bool = setting(flag, False, decides=False)
    licence: str | None = setting(optional(text), None, decides=False)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides what a run gives, and how it is run."""

    tokenizer: Tokenizer
    sources: tuple[SourceFiles, ...]
    held_out: HeldOut
    model: Model
    packing: Packing
    masking: Masking
    training: Training
    output: Output

    def toml(self) -> str:
        """Return the recipe as a file that reads back as the same, every setting written out."""
        lines: list[str] = []
        for name in SECTIONS:
            section = getattr(self, name)
            for one in section if name == "sources" else (section,):
                lines += [f"[[{name}]]" if name == "sources" else f"[{name}]"]
                lines += [f"{key} = {toml(value)}" for key, value in plain(one).items()] + [""]
        return "\n".join(lines)

    def changes(self, new: "Recipe") -> list[str]:
        """Return a sentence for each difference between this recipe and ``new`` that decides the outcome."""
        changed: list[str] = []
        for name in SECTIONS:
            old_one, new_one = getattr(self, name), getattr(new, name)
            if name != "sources":
                changed += differences(old_one, new_one, name)
            elif len(old_one) != len(new_one):
                changed.append(f"there were {len(old_one)} sources and there are {len(new_one)}")
            else:
                for number_, (one, other) in enumerate(zip(old_one, new_one, strict=True)):
                    changed += differences(one, other, f"sources.{number_}")
        return changed


SECTIONS: dict[str, type[Tokenizer | HeldOut | Model | Packing | Masking | Training | Output | SourceFiles]] = {
    "tokenizer": Tokenizer, "sources": SourceFiles, "held_out": HeldOut, "model": Model, "packing": Packing,
    "masking": Masking, "training": Training, "output": Output,
}  # fmt: skip
