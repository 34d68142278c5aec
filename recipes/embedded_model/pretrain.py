r"""Pre-train the embedded model: one process, one device, CPU or CUDA.

python recipes/embedded_model/pretrain.py --shards runs/shards --run runs/embedded --minutes 100

A run that was interrupted goes on with the same command. With `--steps` the schedule counts steps and a resumed
run gives the weights of an uninterrupted one; with `--minutes` it follows the clock.
"""

import argparse
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from batches import Corpus, Epoch, draw_masks, mask_key, pack_rows, plan_epoch
from corpus import HERE, Shard, Source, sources
from safetensors import safe_open
from safetensors.torch import save_file
from start import look_at_neighbours
from torch import Tensor

from robertakit.architecture import count_parameters, parameters
from robertakit.configuration import RobertaConfig
from robertakit.torch import RobertaForMaskedLM
from robertakit.torch.losses import cross_entropy

TOKENIZER = HERE.parent.parent / "src" / "robertakit" / "embedded" / "english"
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
CHECKPOINT = "checkpoint.safetensors"
HELD_OUT_LENGTH = 512
Step = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Settings:
    """What a run is; written into its checkpoints, and a resumed run must ask for the same.

    `neighbours` is the gain of `start.look_at_neighbours`, 0 for the published start.
    """

    shards: str
    seed: int = 1
    steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 131_072
    mix: tuple[tuple[int, float], ...] = ((64, 0.1), (128, 0.5), (512, 0.4))
    rate: float = 0.15
    learning_rate: float = 2e-3
    warm_up: float = 0.05
    weight_decay: float = 0.01
    clip: float = 1.0
    dropout: float = 0.0
    bf16: bool = False
    initializer_range: float = 0.02
    neighbours: float = 0.0
    hidden_size: int = 192
    layers: int = 6
    heads: int = 6
    intermediate_size: int = 640

    def config(self, vocab_size: int) -> RobertaConfig:
        return RobertaConfig(
            vocab_size=vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate_size,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            max_position_embeddings=514,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            initializer_range=self.initializer_range,
        )


@dataclass
class Progress:
    """Where a run stands: `batch` of `epoch`, steps and seconds so far."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def share(self, settings: Settings) -> float:
        """How much of the run is done, 0 to 1."""
        if settings.steps is not None:
            return min(self.step / settings.steps, 1.0)
        assert settings.minutes is not None
        return min(self.seconds / (60 * settings.minutes), 1.0)


def learning_rate(share: float, settings: Settings) -> float:
    """Linear up, then linear down to 0 (Liu et al. 2019, section 3.1)."""
    rising = share / settings.warm_up if settings.warm_up else 1.0
    return settings.learning_rate * min(rising, (1 - share) / (1 - settings.warm_up))


def optimiser(model: RobertaForMaskedLM, settings: Settings) -> torch.optim.AdamW:
    """AdamW as published; only what the architecture table says decays."""
    table = parameters(model.config, "masked-lm")
    groups = [
        {
            "params": [
                parameter for name, parameter in model.named_parameters() if table[name].decays == decays
            ],
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for decays in (True, False)
    ]
    on_cuda = next(model.parameters()).is_cuda
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-6, fused=on_cuda)


class Batches:
    """Batches without end, the next epoch planned in the background."""

    def __init__(self, corpus: Corpus, settings: Settings, progress: Progress, device: torch.device) -> None:
        self._corpus, self._settings, self._device = corpus, settings, device
        self._pool = ThreadPoolExecutor(1)
        self._progress = progress

    def _plan(self, epoch: int) -> Epoch:
        settings = self._settings
        planned = plan_epoch(self._corpus, settings.mix, settings.batch_tokens, settings.seed, epoch)
        if not planned.order:
            raise SystemExit(f"the text does not fill one batch of {settings.batch_tokens} tokens")
        return planned.to(self._device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
        """Yield ids (B, L), lengths (B,), sequence indices (B,) and the key of the epoch's masks."""
        progress = self._progress
        coming = self._pool.submit(self._plan, progress.epoch)
        while True:
            epoch = coming.result()
            coming = self._pool.submit(self._plan, progress.epoch + 1)
            key = mask_key(self._settings.seed, progress.epoch)
            for which, start, stop in epoch.order[progress.batch :]:
                yield *epoch.rows[which].batch(start, stop), key
                progress.batch += 1
            progress.epoch, progress.batch = progress.epoch + 1, 0


class HeldOut:
    """Held-out text with fixed masks: 15 % of the words, drawn once, every one replaced by `<mask>`."""

    def __init__(self, shard: Shard, vocab_size: int, device: torch.device) -> None:
        corpus = Corpus.of([shard], [Source("heldout", 1, "", "")])
        rows = pack_rows(corpus, np.arange(len(corpus.source)), HELD_OUT_LENGTH).to(device)
        self.ids, self.lengths, sequences = rows.batch(0, len(rows.starts))
        self.inputs, self.rows, self.labels = draw_masks(
            self.ids, self.lengths, sequences, mask_key(0, 0), vocab_size, split=(1.0, 0.0)
        )

    @torch.no_grad()
    def measure(self, model: RobertaForMaskedLM, autocast: torch.autocast) -> dict[str, float]:
        """Loss in nats, perplexity, and how often the word is first or among the first five."""
        model.eval()
        batch, total, first, five, count = 32, 0.0, 0, 0, 0
        per_row = len(self.rows) // len(self.ids)
        for at in range(0, len(self.ids), batch):
            with autocast:
                hidden = _encode(model, self.inputs[at : at + batch], self.lengths[at : at + batch])
                part = slice(at * per_row, (at + batch) * per_row)
                kept = self.labels[part] != -100
                rows, labels = (self.rows[part] - at * HELD_OUT_LENGTH)[kept], self.labels[part][kept]
                loss, logits = _loss_at(model, hidden, rows, labels)
            best = logits.float().topk(5).indices == labels[:, None]
            total += loss.item() * len(labels)
            first, five = first + int(best[:, 0].sum()), five + int(best.sum())
            count += len(labels)
        model.train()
        return {
            "loss": total / count,
            "perplexity": float(np.exp(total / count)),
            "top1": first / count,
            "top5": five / count,
            "words": count,
        }


def _loss_at(
    model: RobertaForMaskedLM, hidden: Tensor, rows: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss and logits (R, V) of single rows of (T, W): an eighth of the head's work."""
    logits = model.score(hidden.flatten(0, -2)[rows])["logits"]
    return cross_entropy(logits, labels), logits


def _encode(model: RobertaForMaskedLM, ids: Tensor, lengths: Tensor) -> Tensor:
    mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    hidden: Tensor = model.roberta(ids, attention_mask=mask, return_dict=False)[0]
    return hidden


def make_step(model: RobertaForMaskedLM, autocast: torch.autocast, compiled: bool) -> Step:
    """Loss of a masked batch: (inputs, lengths, rows, labels) to (), compiled for each row length."""

    def loss_of(inputs: Tensor, lengths: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
        with autocast:
            return _loss_at(model, _encode(model, inputs, lengths), rows, labels)[0]

    return torch.compile(loss_of, dynamic=False, fullgraph=True) if compiled else loss_of


def save_checkpoint(
    folder: Path, model: RobertaForMaskedLM, adam: torch.optim.AdamW, progress: Progress, settings: Settings
) -> None:
    """Weights, moments and progress in one file of plain tensors, put in place by a rename."""
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"weight.{name}"] = parameter.detach()
        for moment in ("exp_avg", "exp_avg_sq"):
            if parameter in adam.state:
                tensors[f"{moment}.{name}"] = adam.state[parameter][moment]
    state = {"progress": dataclasses.asdict(progress), "settings": _plain(settings)}
    temporary = folder / f"{CHECKPOINT}.tmp"
    save_file(tensors, temporary, metadata={"state": json.dumps(state)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(folder / CHECKPOINT)


def load_checkpoint(
    folder: Path, model: RobertaForMaskedLM, adam: torch.optim.AdamW, settings: Settings
) -> Progress:
    """Set weights and moments to those of the run's checkpoint; the beginning if there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        return Progress()
    device = next(model.parameters()).device
    with safe_open(path, "pt", device=str(device)) as file:
        state = json.loads(file.metadata()["state"])
        if state["settings"] != _plain(settings):
            differing = [
                key for key, value in _plain(settings).items() if state["settings"].get(key) != value
            ]
            raise SystemExit(f"{path} was made with other settings: {', '.join(differing)}")
        progress = Progress(**state["progress"])
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(file.get_tensor(f"weight.{name}"))
                if progress.step:
                    adam.state[parameter] = {
                        "step": torch.tensor(
                            float(progress.step), device=device if device.type == "cuda" else "cpu"
                        ),
                        "exp_avg": file.get_tensor(f"exp_avg.{name}"),
                        "exp_avg_sq": file.get_tensor(f"exp_avg_sq.{name}"),
                    }
    return progress


def _plain(settings: Settings) -> dict[str, object]:
    plain: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(settings)))
    plain.pop("shards")  # where they lie may change
    return plain


def save_model(folder: Path, model: RobertaForMaskedLM, tokenizer: Path) -> None:
    """A checkpoint folder that anything of the family reads: half precision, config, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    table = parameters(model.config, "masked-lm")
    state = model.state_dict()
    weights = {
        name: state[name].half().cpu().contiguous() for name, row in table.items() if row.tied_to is None
    }
    temporary = folder / "model.safetensors.tmp"
    save_file(weights, temporary, metadata={"format": "pt"})
    temporary.chmod(0o644)
    temporary.replace(folder / "model.safetensors")
    config = model.config.to_diff_dict() | {"architectures": ["RobertaForMaskedLM"], "torch_dtype": "float16"}
    for name in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal"):
        config.pop(name, None)
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    for name in TOKENIZER_FILES:
        if (tokenizer / name).exists() and folder.resolve() != tokenizer.resolve():
            shutil.copyfile(tokenizer / name, folder / name)


@dataclass
class Run:
    """A run under way: model, optimiser, batches, log."""

    settings: Settings
    folder: Path
    tokenizer: Path
    device: torch.device
    compiled: bool
    log_every: int
    evaluate_every: int
    save_every: int
    probe: float | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        vocabulary = json.loads((self.tokenizer / "vocab.json").read_text(encoding="utf-8"))
        torch.manual_seed(self.settings.seed)
        torch.set_float32_matmul_precision("high")
        config = self.settings.config(len(vocabulary))
        config.attn_implementation = "sdpa"
        self.model = RobertaForMaskedLM(config).to(self.device).train()
        if self.settings.neighbours:
            look_at_neighbours(self.model, self.settings.neighbours)
        self.adam = optimiser(self.model, self.settings)
        self.progress = load_checkpoint(self.folder, self.model, self.adam, self.settings)
        self.autocast = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.settings.bf16)
        shards = Path(self.settings.shards)
        self.corpus = Corpus.load(shards, sources())
        self.held_out = HeldOut(Shard.load(shards / "heldout.npz.xz"), len(vocabulary), self.device)
        self.log("start", parameters=count_parameters(config, "masked-lm"), device=str(self.device),
                 torch=torch.__version__, settings=dataclasses.asdict(self.settings))  # fmt: skip

    def log(self, event: str, **fields: object) -> None:
        row = {"event": event, **dataclasses.asdict(self.progress), **fields}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        shown = {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}
        print(json.dumps(shown), flush=True)

    def train(self) -> None:
        """Run to the end of the schedule, or, as a probe, for some seconds."""
        settings, progress = self.settings, self.progress
        step = make_step(self.model, self.autocast, self.compiled)
        losses: list[Tensor] = []
        begun, before = time.monotonic(), progress.seconds
        tokens, since = progress.tokens, begun
        for ids, lengths, sequences, key in Batches(self.corpus, settings, progress, self.device):
            share = progress.share(settings)
            if share >= 1 or (self.probe is not None and time.monotonic() - begun > self.probe):
                break
            rate = learning_rate(share, settings)
            losses.append(self.step(step, rate, (ids, lengths, sequences, key)))
            progress.step += 1
            progress.tokens += ids.numel()
            progress.seconds = before + time.monotonic() - begun
            if progress.step % self.log_every == 0:
                loss = torch.stack(losses).mean().item()
                now = time.monotonic()
                self.log("step", train_loss=loss, learning_rate=rate,
                         tokens_per_second=(progress.tokens - tokens) / (now - since))  # fmt: skip
                losses, tokens, since = [], progress.tokens, now
                if not np.isfinite(loss):
                    raise SystemExit("the loss is not finite; the last checkpoint is kept")
            if progress.step % self.evaluate_every == 0:
                self.evaluate()
            if progress.step % self.save_every == 0 and self.probe is None:
                save_checkpoint(self.folder, self.model, self.adam, self._next(), settings)
                save_model(self.folder / "model", self.model, self.tokenizer)
        self.evaluate()
        if self.probe is None:
            save_checkpoint(self.folder, self.model, self.adam, progress, settings)
            save_model(self.folder / "model", self.model, self.tokenizer)
        self.log("end")

    def _next(self) -> Progress:
        """The progress as a resumed run must find it: behind the batch that was just taken."""
        return dataclasses.replace(self.progress, batch=self.progress.batch + 1)

    def step(self, step: Step, rate: float, batch: tuple[Tensor, Tensor, Tensor, int]) -> Tensor:
        """One update; returns the loss, still on the device."""
        settings = self.settings
        ids, lengths, sequences, key = batch
        if settings.dropout:  # keyed by the step: a resumed run draws the same
            torch.manual_seed((settings.seed << 32) + self.progress.step)
        vocab_size = self.model.config.vocab_size
        inputs, rows, labels = draw_masks(ids, lengths, sequences, key, vocab_size, settings.rate)
        for group in self.adam.param_groups:
            group["lr"] = rate
        loss = step(inputs, lengths, rows, labels)
        loss.backward()
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return loss.detach()

    def evaluate(self) -> None:
        self.log("held-out", **self.held_out.measure(self.model, self.autocast))


def _mix(text: str) -> tuple[tuple[int, float], ...]:
    pairs = [part.split(":") for part in text.split(",")]
    return tuple((int(size), float(share)) for size, share in pairs)


def parse(arguments: list[str] | None = None) -> Run:
    """The run that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of log, checkpoints and model")
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile (needs a C++ compiler or Triton)"
    )
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--evaluate-every", type=int, default=500)
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--probe", type=float, metavar="SECONDS", help="stop after so long and save nothing")
    for field in dataclasses.fields(Settings):
        name = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            parser.add_argument(name, action="store_true", help="for processors with bf16 units, and CUDA")
        elif field.name == "mix":
            parser.add_argument(name, type=_mix, default=field.default, help="for example 128:0.6,512:0.4")
        elif field.default is dataclasses.MISSING:
            parser.add_argument(name, required=True)
        else:
            kind = int if field.name == "steps" else float if field.name == "minutes" else type(field.default)
            parser.add_argument(name, type=kind, default=field.default, help=f"default {field.default}")
    given = vars(parser.parse_args(arguments))
    if (given["steps"] is None) == (given["minutes"] is None):
        parser.error("one of --steps and --minutes")
    settings = Settings(**{field.name: given[field.name] for field in dataclasses.fields(Settings)})
    return Run(
        settings, given["run"], given["tokenizer"], torch.device(given["device"]), given["compile"],
        given["log_every"], given["evaluate_every"], given["save_every"], given["probe"],
    )  # fmt: skip


if __name__ == "__main__":
    parse().train()
