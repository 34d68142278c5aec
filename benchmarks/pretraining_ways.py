"""The ways that `pretraining_speed.py` compares: updates on the same sequences, by our loop's parts and by Trainer.

Shape letters: T tokens, S sequences.
"""

import inspect
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch_ways import Way
from torch_workload import PAD, Workload, chunks

from robertakit.training.loop_settings import LoopSettings
from robertakit.training.masked_lm import MaskedLMStep
from robertakit.training.masking import Masking, draw_masks
from robertakit.training.micro_batches import MaskedRows, split_batch
from robertakit.training.optimisers import adamw
from robertakit.training.packing import Rows
from robertakit.training.places import Place
from robertakit.training.updates import accumulate

__all__ = ["BATCH", "Setting", "Updates", "drawn_rows", "loss_and_gradient", "ways"]

#: Sequences of an update, whatever they are cut into.
BATCH = 32
RATE, CLIP = 1e-5, 1.0


@dataclass(frozen=True)
class Setting:
    """How all ways compute.

    Attributes:
        device: where.
        precision: `"fp32"` or `"bf16"`.
        compiled: whether `torch.compile` is used, on both sides.
        micro_tokens: most tokens that ours computes at once.
    """

    device: torch.device
    precision: str
    compiled: bool
    micro_tokens: int

    def autocast(self) -> torch.autocast | None:
        """What forward passes run in."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else None


# Ours: packed rows, micro-batches by tokens, the loss in chunks -----------------------------------------------


def drawn_rows(work: Workload, batch: Sequence[int]) -> Rows:
    """Sequences as an epoch gives them."""
    ids = [work.ids[i] for i in batch]
    words = [np.concatenate([[-1], np.arange(len(each) - 2), [-1]]) for each in ids]
    bounds = np.cumsum([0, *map(len, ids)])
    return Rows(
        np.concatenate(ids), np.concatenate(words), bounds, np.asarray(batch), np.zeros(len(ids), np.int64)
    )


def fixed_rows(work: Workload, batch: Sequence[int]) -> MaskedRows:
    """The same with the workload's own masks, on which losses are compared."""
    inputs, labels = (np.concatenate([each[i] for i in batch]) for each in (work.masked, work.labels))
    return MaskedRows.of(drawn_rows(work, batch), inputs, labels, PAD)


class Updates:
    """Updates as our loop makes them; batches come as lists of sequences.

    Args:
        work: the sequences.
        model: ours.
        setting: how.
        place: where, with which other processes.
    """

    def __init__(
        self, work: Workload, model: nn.Module, setting: Setting, place: Place | None = None
    ) -> None:
        self._work, self._setting, self._place = work, setting, place or Place(0, 1, setting.device)
        step = MaskedLMStep(model)
        if setting.compiled:
            step.compile_encoder()
        self._step = self._place.prepare(step, setting.precision)
        self._optimiser = adamw(self._step, LoopSettings(steps=1, learning_rate=RATE))
        words = model.config.vocab_size
        self._masks = partial(
            draw_masks,
            masking=Masking(),
            vocab_size=words,
            special=SimpleNamespace(mask=words - 1, all=(0, 1, 2, 3, words - 1)),
            seed=0,
        )
        self._epoch = 0

    def __call__(self, batches: Iterable[list[int]]) -> Iterator[tuple[int, Tensor]]:
        """Update once for each batch; yields the batch's number and its mean loss."""
        self._epoch += 1
        for number, batch in enumerate(batches):
            yield number, torch.tensor(self._update(batch))

    def _update(self, batch: list[int]) -> float:
        place = self._place
        lengths = [self._work.lengths[i] for i in batch]
        micros = []
        for part in split_batch(lengths, place.processes, self._setting.micro_tokens)[place.rank]:
            rows = drawn_rows(self._work, [batch[i] for i in part]) if len(part) else None
            if rows is None:
                micros.append(MaskedRows.nothing(0, 2, PAD))
            else:
                micros.append(MaskedRows.of(rows, *self._masks(rows, epoch=self._epoch), PAD))
        (targets,) = place.sum(sum(micro.targets for micro in micros))
        self._optimiser.zero_grad(set_to_none=True)
        task = SimpleNamespace(loss=lambda step, micro: step(micro))
        loss = accumulate(task, self._step, micros, place, targets=targets, autocast=self._setting.autocast())
        place.clip(self._step, CLIP)
        self._optimiser.step()
        return loss


# transformers' -------------------------------------------------------------------------------------------------


def tokenizer_of(words: int) -> object:
    """What the collator asks for masks and padding: one of their fast tokenizers, of words that are numbers."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(WordLevel({str(i): i for i in range(words)}, unk_token="3"))
    special = {
        "bos_token": "0",
        "pad_token": "1",
        "eos_token": "2",
        "unk_token": "3",
        "mask_token": str(words - 1),
    }
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)


class Trained:
    """Updates as `Trainer` makes them, with its collator for masked language modelling."""

    def __init__(self, work: Workload, model: nn.Module, setting: Setting, size: int, grouped: bool) -> None:
        from transformers import DataCollatorForLanguageModeling, PrinterCallback, Trainer, TrainingArguments

        logging.getLogger("transformers").setLevel(logging.ERROR)
        # With the mask of special tokens, as a tokenizer gives it: without, the collator asks for it again and again.
        self._examples = [
            {"input_ids": ids.tolist(), "special_tokens_mask": [1, *[0] * (len(ids) - 2), 1]}
            for ids in work.ids
        ]
        words, accumulated = model.config.vocab_size, BATCH // size
        self._folder = tempfile.TemporaryDirectory()  # Trainer wants one, though it saves nothing
        renamed = (
            "train_sampling_strategy" in inspect.signature(TrainingArguments).parameters
        )  # since version 5
        by_length = {"train_sampling_strategy": "group_by_length"} if renamed else {"group_by_length": True}
        arguments = TrainingArguments(
            output_dir=self._folder.name, save_strategy="no", report_to=[], disable_tqdm=True, logging_strategy="no",
            per_device_train_batch_size=size, gradient_accumulation_steps=accumulated,
            learning_rate=RATE, weight_decay=0.01, adam_beta2=0.98, adam_epsilon=1e-6, max_grad_norm=CLIP,
            lr_scheduler_type="constant", num_train_epochs=1, use_cpu=setting.device.type == "cpu",
            bf16=setting.precision == "bf16", torch_compile=setting.compiled,
            dataloader_pin_memory=setting.device.type == "cuda", **(by_length if grouped else {}),
        )  # fmt: skip
        collator = DataCollatorForLanguageModeling(tokenizer_of(words), mlm_probability=0.15)
        self._new = partial(Trainer, model=model, args=arguments, data_collator=collator)
        self._printer = PrinterCallback

    def __call__(self, batches: Iterable[list[int]]) -> Iterator[tuple[int, Tensor]]:
        """Update on the sequences of all batches, in the order that `Trainer` draws."""
        some = [self._examples[i] for batch in batches for i in batch]
        trainer = self._new(train_dataset=some)
        trainer.remove_callback(self._printer)
        result = trainer.train()
        yield 0, torch.tensor(result.training_loss)


# All ------------------------------------------------------------------------------------------------------------


def ways(work: Workload, models: dict[str, nn.Module], setting: Setting) -> list[Way]:
    """Return the ways, of those whose model is there."""
    batches = chunks(range(len(work.lengths)), BATCH)
    found = []
    if "ours" in models:
        shown = f"robertakit, packed, {setting.micro_tokens:,} tokens at once"
        found.append(Way("ours", shown, "ours", batches, Updates(work, models["ours"], setting)))
    if "theirs" in models:
        make = partial(Trained, work, models["theirs"], setting)
        shown = "transformers' Trainer, 32 as they come"
        found.append(Way("theirs_32", shown, "theirs", batches, make(32, grouped=False), True))
        for size in (16, 8, 4):
            shown = f"Trainer, `group_by_length`, {size} at once"
            found.append(
                Way(f"theirs_grouped_{size}", shown, "theirs", batches, make(size, grouped=True), True)
            )
    return found


def padding_of(way: Way, lengths: list[int]) -> int:
    """Tokens that a way computes in a pass, padding included; Trainer groups all sequences that are at hand."""
    if not way.pads:
        return sum(lengths)
    size = int(way.key.split("_")[-1])
    order = sorted(lengths, reverse=True) if "grouped" in way.key else lengths
    return sum(len(part) * max(part) for part in chunks(order, size))


def loss_and_gradient(
    name: str, work: Workload, model: nn.Module, setting: Setting, batch: list[int]
) -> tuple[float, Tensor]:
    """Mean loss of the workload's own masks, and the gradient, flat on the processor; dropout is off."""
    model.eval()
    with setting.autocast() or nullcontext():
        if name == "ours":
            micros = fixed_rows(work, batch)
            loss = MaskedLMStep(model)(micros) / micros.targets
        else:
            loss = model(**work.padded(batch, labelled=True)).loss
    loss.backward()
    named = dict(model.named_parameters())
    flat = torch.cat([named[n].grad.flatten().double().cpu() for n in sorted(named)])
    model.zero_grad()
    model.train()
    return float(loss.detach()), flat
