"""Masked language modelling as the training loop's task (Liu et al. 2019, sections 2.3 and 4).

Tokens of packed rows go through the encoder without padding; the head sees labelled tokens alone, and its loss is
taken in chunks, so that scores of a whole vocabulary never exist for all of them.

Shape letters: T tokens, S sequences, R labelled tokens, W width.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, InputError, require
from robertakit.training.masking import Masking, draw_masks
from robertakit.training.micro_batches import MaskedRows, even_batches, split_batch
from robertakit.training.packing import Epoch, Packing, plan_epoch

require("torch", extra="train", needed_for="training")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from robertakit.torch.language_models import RobertaForMaskedLM, RobertaLMHead  # noqa: E402
from robertakit.torch.linear import is_plain  # noqa: E402
from robertakit.training.chunked_loss import label_ranks, linear_cross_entropy, score_labels  # noqa: E402

if TYPE_CHECKING:
    from robertakit.training.loop import MicroBatch
    from robertakit.training.places import Place
    from robertakit.training.shards import Corpus

__all__ = ["MaskedLM", "MaskedLMStep", "step_flops"]

#: Held-out text is judged as fill-mask is asked: every chosen token hidden, the same ones each time.
_HELD_OUT = Masking(split=(1.0, 0.0, 0.0))
_TOPS = (1, 5)


class MaskedLMStep(nn.Module):
    """The model of a step: masked rows in, the sum of the losses of their labels out.

    Args:
        model: the model to train, kept as `model`.
        chunk: rows whose scores exist at once; None as `linear_cross_entropy` has it.

    Example:
        >>> from robertakit import RobertaConfig
        >>> config = RobertaConfig(
        ...     vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        ... )
        >>> ids, some = np.array([0, 9, 2]), np.array([1])
        >>> rows = MaskedRows(ids, np.array([2, 3, 4]), np.array([0, 3]), some, np.array([7]), np.array([0]), 3)
        >>> step = MaskedLMStep(RobertaForMaskedLM(config))
        >>> loss = step(rows)
        >>> loss.backward()
        >>> loss.dim(), step.model.lm_head.bias.grad.shape
        (0, torch.Size([99]))
    """

    def __init__(self, model: RobertaForMaskedLM, chunk: int | None = None) -> None:
        super().__init__()
        self.model = model
        self._chunk = chunk
        self._compiled: Callable[..., Tensor] | None = None

    def forward(self, micro: MaskedRows, judge: bool = False) -> Tensor:
        """Return the loss of a micro-batch.

        Args:
            micro: masked rows.
            judge: return what each label got in place of the sum.

        Returns:
            (), float32 (float64 where the model is), 0 with a graph where nothing is predicted; or (R, 2): each
            label's loss, and how many words the model finds likelier.
        """
        device = self.model.lm_head.bias.device
        bounds = torch.from_numpy(micro.cumulative_lengths)  # on the processor, which plans
        given = (micro.input_ids, micro.position_ids, micro.predicted, micro.labels)
        ids, positions, predicted, labels = (_moved(array, device) for array in given)
        encode = self._compiled or self._labelled_states
        states = encode(ids, positions, bounds, predicted)
        head: nn.Module = self.model.lm_head
        if type(head) is RobertaLMHead and is_plain(head) and _is_decoder(head.decoder):
            rows, weight, bias = head.transform(states), head.decoder.weight, head.decoder.bias
            if not judge:
                return linear_cross_entropy(rows, weight, bias, labels, self._chunk)
            scored = score_labels(rows, weight, bias, labels, self._chunk)
            return torch.stack([scored.losses, scored.ranks.to(scored.losses.dtype)], 1)
        # Somebody's own head, or one that is listened to, is called as it wants to be.
        scores = self.model.score(states)["logits"]
        scores = scores if scores.dtype == torch.float64 else scores.float()
        losses = F.cross_entropy(scores, labels, reduction="none")
        if not judge:
            return losses.sum()
        return torch.stack([losses, label_ranks(scores, labels).to(losses.dtype)], 1)

    def compile_encoder(self, by_layer: bool = False) -> None:
        """Have `torch.compile` make kernels of the encoder; to be called before `Place.prepare`.

        Sizes are dynamic: one graph takes all micro-batches. On a processor that needs a C++ compiler.

        Args:
            by_layer: each layer by itself, which FSDP2 asks for: what it gathers and frees lies between layers.
        """
        if by_layer:
            for layer in self.model.roberta.encoder.layer:
                layer.compile(dynamic=True)
            return
        compiled = torch.compile(self._labelled_states, fullgraph=True)

        def encode(*given: Tensor) -> Tensor:
            for tensor in given:
                if tensor.shape[0] > 1:  # PyTorch takes 0 and 1 for special
                    torch._dynamo.mark_dynamic(tensor, 0)
            return compiled(*given)

        self._compiled = encode

    def _labelled_states(self, ids: Tensor, positions: Tensor, bounds: Tensor, predicted: Tensor) -> Tensor:
        """(R, W) of the last layer."""
        return self.model.roberta.encode_packed(ids, positions, bounds).index_select(0, predicted)


class MaskedLM:
    """The task: rows of an epoch, masked afresh, in batches; and the judgement of held-out text.

    Args:
        corpus: what is learnt from.
        config: the model's.
        packing: how rows are formed.
        masking: what is hidden.
        seed: of rows, order and masks.
        batch_rows: rows of a batch, over all processes; an epoch is divided evenly into batches of about so many.
        batch_tokens: in place of `batch_rows`: most tokens of a batch, for rows of several lengths.
        micro_batch_tokens: most tokens that a process computes at once; changes no result.
        held_out: text that is never learnt, or None.
        held_out_rows: most rows of each held-out source that are judged.
        place: where this runs; None for one process.

    Raises:
        ArgumentError: both or none of the two sizes of a batch, or one below 1.
        InputError: a vocabulary larger than the model's, or rows longer than its positions.
    """

    def __init__(
        self,
        corpus: "Corpus",
        config: RobertaConfig,
        *,
        packing: Packing,
        masking: Masking,
        seed: int,
        batch_rows: int | None = None,
        batch_tokens: int | None = None,
        micro_batch_tokens: int = 8192,
        held_out: "Corpus | None" = None,
        held_out_rows: int = 512,
        place: "Place | None" = None,
    ) -> None:
        sizes = {"batch_rows": batch_rows, "batch_tokens": batch_tokens}
        told = {name: size for name, size in sizes.items() if size is not None}
        if len(told) != 1 or min(*told.values(), micro_batch_tokens, held_out_rows) < 1:
            raise ArgumentError(
                given=f"{sizes}, micro_batch_tokens={micro_batch_tokens}, held_out_rows={held_out_rows}",
                expected="one of the first two, and numbers from 1",
            )
        for text in (corpus, held_out):
            if text is not None:
                _check_fits(text, config, packing)
        self.corpus, self.config, self.packing, self.masking, self.seed = (
            corpus,
            config,
            packing,
            masking,
            seed,
        )
        self._rows, self._tokens, self._micro_tokens = batch_rows, batch_tokens, micro_batch_tokens
        self._place = place
        self._epochs: dict[int, tuple[Epoch, NDArray[np.int64]]] = {}
        self._held_out = None if held_out is None else _HeldOut(held_out, packing, held_out_rows)
        first, _ = self._epoch(0)
        lengths = first.lengths.astype(np.float64)
        self._seen = float((lengths**2).sum() / lengths.sum())  # keys that a token attends to

    # What the loop asks for ---------------------------------------------------------------------------------

    def batches(self, epoch: int) -> int:
        """Return the number of batches of an epoch."""
        return len(self._epoch(epoch)[1]) - 1

    def micro_batches(self, epoch: int, batch: int, rank: int, processes: int) -> list[MaskedRows]:
        """Return this process's part of a batch; which rows it gets changes no sum over all processes."""
        planned, bounds = self._epoch(epoch)
        rows = np.arange(bounds[batch], bounds[batch + 1])
        shares = split_batch(planned.lengths[rows], processes, self._micro_tokens)
        key = (self.seed, epoch)
        return [self._masked(self.corpus, planned, rows[part], self.masking, *key) for part in shares[rank]]

    def loss(self, model: nn.Module, micro: "MicroBatch") -> Tensor:
        """Return the sum of the losses of a micro-batch, ()."""
        total: Tensor = model(micro)
        return total

    def evaluate(self, model: nn.Module) -> dict[str, object]:
        """Judge held-out text: every process its part, all the same figures.

        Returns:
            `loss` in nats, `perplexity`, `top1` and `top5` (shares of labels that are the likeliest word, or among
            the five), `targets`; the same by source, and by language where sources name theirs. Nothing where there is
            no held-out text.
        """
        if self._held_out is None:
            return {}
        sources = self._held_out.corpus.sources
        sums = np.zeros((len(sources), 2 + len(_TOPS)))
        for micro in self._held_out_batches():
            with torch.no_grad():
                judged = model(micro, judge=True).double().cpu().numpy()
            found = [np.ones(len(judged)), judged[:, 0], *(judged[:, 1] < top for top in _TOPS)]
            for column, each in enumerate(found):
                sums[:, column] += np.bincount(micro.sources, each, len(sources))
        if self._place is not None:
            sums = np.array(self._place.sum(*sums.ravel().tolist())).reshape(sums.shape)
        figures: dict[str, object] = dict(_figures(sums.sum(0)))
        figures["sources"] = {source.name: _figures(row) for source, row in zip(sources, sums, strict=True)}
        languages = sorted({source.language for source in sources if source.language is not None})
        if languages:
            spoken = [np.array([source.language == each for source in sources]) for each in languages]
            figures["languages"] = {
                each: _figures(sums[which].sum(0)) for each, which in zip(languages, spoken, strict=True)
            }
        return figures

    def flops_per_token(self) -> float:
        """Return the operations of a step for each token, as `step_flops` counts them for rows of this corpus."""
        return step_flops(self.config, predicted=self.masking.rate, seen=self._seen)

    # How it is made -----------------------------------------------------------------------------------------

    def _epoch(self, epoch: int) -> tuple[Epoch, NDArray[np.int64]]:
        """Rows of an epoch and where its batches begin; the last two are kept."""
        if epoch not in self._epochs:
            planned = plan_epoch(self.corpus, self.packing, seed=self.seed, epoch=epoch)
            if not len(planned):
                raise InputError(given="a corpus without a row of text", expected="text to learn from")
            bounds = (
                planned.batches(self._tokens) if self._tokens else even_batches(len(planned), self._rows or 1)
            )
            while len(self._epochs) > 1:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[epoch] = (planned, bounds)
        return self._epochs[epoch]

    def _masked(
        self,
        corpus: "Corpus",
        planned: Epoch,
        rows: NDArray[np.int64],
        masking: Masking,
        seed: int,
        epoch: int,
    ) -> MaskedRows:
        special, pad = corpus.special, self.config.pad_token_id
        if not len(rows):
            return MaskedRows.nothing(special.bos, special.eos, pad)
        taken = planned.take(rows)
        masked = draw_masks(taken, masking, corpus.vocab_size, special, seed=seed, epoch=epoch)
        return MaskedRows.of(taken, *masked, pad)

    def _held_out_batches(self) -> Iterator[MaskedRows]:
        """This process's part of the held-out rows, as many micro-batches on every process."""
        assert self._held_out is not None
        held = self._held_out
        rank, processes = (0, 1) if self._place is None else (self._place.rank, self._place.processes)
        for part in split_batch(held.epoch.lengths[held.rows], processes, self._micro_tokens)[rank]:
            yield self._masked(held.corpus, held.epoch, held.rows[part], _HELD_OUT, 0, 0)


def step_flops(config: RobertaConfig, *, predicted: float, seen: float) -> float:
    """Return the operations of a step for each token, a product and its sum as two, without any recomputing.

    Two for each weight of a matrix forward, four backward (Kaplan et al. 2020, section 2.1), with attention's scores
    and sums beside them; embeddings, normalisations and activations are left out, as is usual.

    Args:
        config: the model's.
        predicted: share of the tokens that the head scores.
        seen: keys that a token attends to.

    Example:
        >>> round(step_flops(RobertaConfig(), predicted=0.15, seen=512) / 1e9, 3)  # base: 6 x 85 million, and the rest
        0.602
    """
    width, layers = config.hidden_size, config.num_hidden_layers
    layer = 4 * width * width + 2 * width * config.intermediate_size + 2 * width * seen
    head = width * width + width * config.vocab_size
    return 6.0 * (layers * layer + predicted * head)


class _HeldOut:
    """Held-out rows: each text once, packed without regard to the run's seed, so that figures of runs compare."""

    def __init__(self, corpus: "Corpus", packing: Packing, most: int) -> None:
        once = tuple(replace(source, weight=1.0) for source in corpus.sources)
        self.corpus = replace(corpus, sources=once)
        self.epoch = plan_epoch(self.corpus, replace(packing, smoothing=None), seed=0, epoch=0)
        kept = [np.flatnonzero(self.epoch.sources == index)[:most] for index in range(len(once))]
        self.rows = np.sort(np.concatenate(kept))
        if not len(self.rows):
            raise InputError(given="held-out text without a row", expected="text to judge by")


def _figures(sums: NDArray[np.float64]) -> dict[str, float]:
    """Number of labels, sum of losses, right ones -> means."""
    count, loss, *right = sums.tolist()
    if not count:
        return {"targets": 0}
    mean = loss / count
    tops = {f"top{top}": each / count for top, each in zip(_TOPS, right, strict=True)}
    return {"loss": mean, "perplexity": math.exp(min(mean, 700.0)), **tops, "targets": int(count)}


def _check_fits(corpus: "Corpus", config: RobertaConfig, packing: Packing) -> None:
    if corpus.vocab_size > config.vocab_size:
        raise InputError(
            given=f"text of {corpus.vocab_size} words", expected=f"at most the model's {config.vocab_size}"
        )
    longest = config.max_position_embeddings - config.pad_token_id - 1
    if max(size for size, _ in packing.lengths) > longest:
        raise InputError(
            given=f"rows by {packing.lengths}", expected=f"at most the model's {longest} positions"
        )
    if corpus.special.pad != config.pad_token_id:
        raise InputError(
            given=f"text whose pad token is {corpus.special.pad}",
            expected=f"the model's, {config.pad_token_id}",
        )


def _moved(array: NDArray[np.int64], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _is_decoder(module: nn.Module) -> bool:
    return type(module) is nn.Linear and is_plain(module)
