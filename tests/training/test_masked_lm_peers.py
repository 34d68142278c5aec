"""transformers' Trainer, given the same weights, the same masked batches and settings, follows the same losses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from robertakit import RobertaConfig
from robertakit.torch import RobertaForMaskedLM
from robertakit.training.checkpoints import Checkpoints
from robertakit.training.logs import LOG, RunLog, read_log
from robertakit.training.loop import Loop
from robertakit.training.loop_settings import LoopSettings
from robertakit.training.masked_lm import MaskedLM, MaskedLMStep
from robertakit.training.masking import Masking
from robertakit.training.packing import Packing
from robertakit.training.places import Place

from .shards_in_memory import Corpus, source

pytestmark = pytest.mark.peers

STEPS, ROWS, LENGTH, WORDS = 100, 8, 64, 400
RATE, DECAY, BETAS, EPSILON, CLIP = 1e-3, 0.01, (0.9, 0.98), 1e-6, 0.5
#: Texts of 3 to 60 tokens, so that rows of the padded batches have padding.
TEXT = Corpus(
    (source([[int(n)] for n in np.random.default_rng(0).integers(3, 60, 384)], first=5),), vocab_size=WORDS
)


def corpus() -> Corpus:
    """Some words are frequent: there is something to learn."""
    (plain,) = TEXT.sources
    words = np.random.default_rng(1).geometric(0.1, len(plain.tokens)).clip(max=WORDS - 5) + 4
    return Corpus((replace(plain, tokens=words.astype(np.uint16)),), vocab_size=WORDS)


def config() -> RobertaConfig:
    return RobertaConfig(
        vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=LENGTH + 2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip


def task_of(micro_batch_tokens: int = 10**6) -> MaskedLM:
    return MaskedLM(
        corpus(), config(), packing=Packing("doc-sentences", ((LENGTH, 1.0),)), masking=Masking(), seed=7,
        batch_rows=ROWS, micro_batch_tokens=micro_batch_tokens,
    )  # fmt: skip


def examples(task: MaskedLM) -> list[dict[str, Tensor]]:
    """The rows of all updates, masked as ours are, padded."""
    found = []
    for number in range(STEPS):
        epoch, batch = divmod(number, task.batches(0))
        (micro,) = task.micro_batches(epoch, batch, 0, 1)
        labels = np.full(len(micro.input_ids), -100)
        labels[micro.predicted] = micro.labels
        rows = zip(
            *(np.split(x, micro.cumulative_lengths[1:-1]) for x in (micro.input_ids, labels)), strict=True
        )
        for ids, targets in rows:
            row = {"input_ids": torch.full((LENGTH,), 1), "labels": torch.full((LENGTH,), -100)}
            row["input_ids"][: len(ids)], row["labels"][: len(ids)] = map(torch.from_numpy, (ids, targets))
            found.append(row | {"attention_mask": row["input_ids"].ne(1).long()})
    return found


def their_losses(folder: Path, model: nn.Module, rows: list[dict[str, Tensor]]) -> list[float]:
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: object) -> SequentialSampler:
            return SequentialSampler(rows)

    losses: list[float] = []
    model.register_forward_hook(lambda module, given, out: losses.append(float(out.loss.detach())))
    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True,
        per_device_train_batch_size=ROWS, num_train_epochs=1, learning_rate=RATE, weight_decay=DECAY,
        adam_beta1=BETAS[0], adam_beta2=BETAS[1], adam_epsilon=EPSILON, max_grad_norm=CLIP,
        lr_scheduler_type="constant", dataloader_pin_memory=False,
    )  # fmt: skip
    InOrder(model=model, args=arguments, train_dataset=rows).train()
    return losses


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("micro_batch_tokens", [10**6, 100])
def test_the_loop_and_trainer_follow_the_same_losses(tmp_path: Path, micro_batch_tokens: int) -> None:
    import transformers

    task = task_of(micro_batch_tokens)
    assert task.batches(0) * ROWS == len(task._epoch(0)[0])  # batches of the same size
    torch.manual_seed(0)
    ours = RobertaForMaskedLM(config())
    theirs = transformers.RobertaForMaskedLM(transformers.RobertaConfig.from_dict(ours.config.to_dict()))
    theirs.load_state_dict(ours.state_dict())
    settings = LoopSettings(
        steps=STEPS, learning_rate=RATE, warm_up=0, decay="constant", weight_decay=DECAY, betas=BETAS, epsilon=EPSILON,
        clip=CLIP, log_every=1, evaluate_every=0, save_every=0,
    )  # fmt: skip
    place = Place.here(device="cpu")
    checkpoints, logs = Checkpoints(tmp_path / "checkpoints", place, 1), RunLog(tmp_path, writes=True)
    Loop(task, MaskedLMStep(ours), settings, place, checkpoints, logs, shown=False).run()
    found = np.array([row["loss"] for row in read_log(tmp_path / LOG) if row["event"] == "step"])
    expected = np.array(their_losses(tmp_path / "theirs", theirs, examples(task_of())))
    assert len(found) == len(expected) == STEPS
    assert expected[-10:].mean() < expected[0] - 0.5  # it learnt
    assert np.abs(found / expected - 1).max() < 1e-4
