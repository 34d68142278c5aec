"""Whether what was written is what was read: every value beside its source, and what both models compute."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robertakit.batch import longest_input
from robertakit.checkpoints.loading import open_saved
from robertakit.checkpoints.rounding import ROUNDING, largest_error
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.configuration import PretrainedConfig, read_config
from robertakit.conversion.content import Content
from robertakit.errors import TensorMismatch, listed
from robertakit.field_values import PROVENANCE
from robertakit.files import Location

__all__ = ["LENGTHS", "Agreement", "compared"]

#: Lengths of the sequences that are computed, as far as the model takes them.
LENGTHS: Final = (1, 2, 3, 5, 8, 13, 21)
#: Outputs of equal weights may be off by so many roundings of float32: another order of summation makes a few.
_SUMMATION: Final = 64
#: Outputs of rounded weights may be off by so many times what random changes of the same size make of them; two
#: draws of these, as one may do little to an output of few values.
_ROUNDING: Final = 16
_SEEDS: Final = (1, 2)
#: Beyond 1 by as much as rounding a float64 twice may add.
_ROUNDED_TWICE: Final = 1.001
#: Heads whose models take the states of an encoder.
_DECODERS: Final = ("model", "causal-lm", "masked-lm")

Values = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the written files compare with their source.

    Attributes:
        tensors: how many were compared, every value of them.
        values: largest change of a value, in units of what rounding to its dtype may change: 0 where all values are
            equal, at most 1.
        lengths: of the sequences that were computed.
        outputs: name of an output -> norm of its change, relative to the norm of the output itself.
        bounds: name of an output -> the most that this may be. Where weights were rounded, the same sequences are
            computed with weights that are off at random by as much as rounding may make them.
    """

    tensors: int
    values: float
    lengths: tuple[int, ...]
    outputs: dict[str, float]
    bounds: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Written(Location):
    """Files that are written and have not got their names yet.

    Attributes:
        files: name -> where the file is now.
    """

    files: Mapping[str, Path] = field(default_factory=dict)

    def path_of(self, filename: str) -> Path | None:
        """Return where a file is now."""
        return self.files.get(filename)


def compared(original: Content, files: Mapping[str, Path], target: Path) -> Agreement:
    """Compare what was written with what was read, and raise unless it is the same model."""
    place = _Written(str(target), folder=target, files=files)
    stored = open_saved(place).tensors
    written = Content.of(read_config(place), stored, None, strict=True, what=str(place))
    if original.tensors.keys() != written.tensors.keys():
        other = listed(original.tensors.keys() ^ written.tensors.keys())
        raise _disagreement(f"the source and what was written for '{target}' do not both have {other}")
    if others := _other_fields(original.config, written.config):
        raise _disagreement(f"the configuration written for '{target}' has another {listed(others)}")
    errors = {name: largest_error(original.tensors[name], x) for name, x in written.tensors.items()}
    if wrong := [name for name, error in errors.items() if error > _ROUNDED_TWICE]:
        raise _disagreement(f"{len(wrong)} tensors written for '{target}' have other values: {listed(wrong)}")
    lengths = tuple(length for length in LENGTHS if length <= longest_input(original.config))
    before = _outputs(original, lengths)
    if not all(np.isfinite(values).all() for values in before.values()):
        raise TensorMismatch(
            given=f"the model that was read for '{target}' computes NaN or infinity",
            hint="robertakit inspect tells which of its tensors hold such values; nothing was written",
        )
    outputs = _changes(before, _outputs(written, lengths))
    bounds = dict.fromkeys(outputs, _SUMMATION * ROUNDING["F32"][0])
    if any(errors.values()):
        units = {name: ROUNDING[written.tensors[name].dtype][0] for name, error in errors.items() if error}
        noises = [_changes(before, _outputs(_noisy(original, units, seed), lengths)) for seed in _SEEDS]
        bounds = {
            name: bound + _ROUNDING * max(noise[name] for noise in noises) for name, bound in bounds.items()
        }
    if not all(change <= bounds[name] for name, change in outputs.items()):  # NaN is no agreement
        said = ", ".join(f"{name} by {change:.2g} of {bounds[name]:.2g}" for name, change in outputs.items())
        raise _disagreement(f"what was written for '{target}' computes something else: {said}")
    return Agreement(len(errors), max(errors.values()), lengths, outputs, bounds)


def _other_fields(read: PretrainedConfig, written: PretrainedConfig) -> list[str]:
    """Return the fields in which two configurations differ, those left out that a conversion changes."""
    before, after = read.to_dict(), written.to_dict()
    names = (before.keys() | after.keys()) - {"architectures", "dtype", *PROVENANCE}
    return sorted(name for name in names if before.get(name) != after.get(name))


def _noisy(original: Content, units: Mapping[str, float], seed: int) -> Content:
    """Return a model whose weights are off as rounding may make them; ``units`` are the largest relative changes."""
    random = np.random.default_rng(seed)
    tensors = {
        name: _Noisy(tensor.dtype, tensor.bits, units[name], random) if name in units else tensor
        for name, tensor in original.tensors.items()
    }
    return replace(original, tensors=tensors)


@dataclass(frozen=True, slots=True, eq=False)
class _Noisy(StoredTensor):
    """A tensor whose values are off at random by as much as rounding may make them, another way each time.

    Attributes:
        relative: the largest change, relative to a value.
        random: where the changes come from.
    """

    relative: float
    random: np.random.Generator

    def _convert(self, bits: NDArray[np.generic], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        changed = self.random.uniform(1 - self.relative, 1 + self.relative, bits.shape)
        changed *= np.asarray(StoredTensor(self.dtype, bits).read(dtype), np.float64)
        return changed.astype(dtype)


def _disagreement(given: str) -> TensorMismatch:
    return TensorMismatch(
        given=given, expected="the model that was read", hint="nothing was written; please report it"
    )


def _outputs(content: Content, lengths: tuple[int, ...]) -> dict[str, Values]:
    """Compute the same random tokens with any model of one configuration, in one batch.

    Returns:
        Name of an output -> its values, those of padding left out.
    """
    config, head = content.config, content.head
    random = np.random.default_rng(0)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    tokens = random.choice(np.setdiff1d(np.arange(config.vocab_size), [config.pad_token_id]), mask.shape)
    arguments: dict[str, NDArray[np.generic]] = {
        "input_ids": np.where(mask, tokens, config.pad_token_id),
        "attention_mask": mask,
        "token_type_ids": random.integers(config.type_vocab_size, size=mask.shape),
    }
    if config.is_decoder and config.add_cross_attention and head.name in _DECODERS:
        arguments["encoder_hidden_states"] = random.standard_normal((len(lengths), 3, config.hidden_size))
    if head.name == "multiple-choice":  # as many questions of one choice, beside as many of another
        arguments = {name: np.stack([value, value[::-1]], axis=1) for name, value in arguments.items()}
    answer = content.model()(**arguments, return_dict=True)
    found = {
        name: np.asarray(getattr(answer, name)) for name in head.outputs if getattr(answer, name) is not None
    }
    by_token = {name for name in found if head.rows != "first" and name != "pooler_output"}
    return {name: value[mask == 1] if name in by_token else value for name, value in found.items()}


def _changes(before: Mapping[str, Values], after: Mapping[str, Values]) -> dict[str, float]:
    """Return the norm of each output's change, relative to the norm of the output."""
    changes = {}
    for name, values in before.items():
        norm = float(np.linalg.norm(values))
        change = float(np.linalg.norm(after[name] - values))
        changes[name] = change / norm if norm else np.inf * change if change else 0.0
    return changes
