"""What a conversion takes over: the tensors of a model by their names here, whatever container they came in."""

from dataclasses import dataclass

from robertakit.architecture import (
    BACKBONE_PREFIX,
    Head,
    canonical_name,
    head_named,
    heads_with,
    model_class_name,
    parameters,
)
from robertakit.checkpoints.comparison import compare
from robertakit.checkpoints.inspection import head_of
from robertakit.checkpoints.loading import Weights
from robertakit.checkpoints.saving import tied_copies
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.configuration import PretrainedConfig
from robertakit.errors import TensorMismatch, listed
from robertakit.numpy.loading import Model, class_for

__all__ = ["Content"]


@dataclass(frozen=True, slots=True)
class Content:
    """A checkpoint's model: its tensors by their names here.

    Attributes:
        config: the configuration.
        head: the head.
        has_pooler: whether a bare model has its pooler.
        tensors: those of the model, tied copies left out, and those that come along.
        left_out: stored names of the others.
        notes: sentences on tied copies that disagree.
    """

    config: PretrainedConfig
    head: Head
    has_pooler: bool
    tensors: dict[str, StoredTensor]
    left_out: list[str]
    notes: list[str]

    @classmethod
    def of(
        cls, config: PretrainedConfig, stored: Weights, head: str | None, *, strict: bool, what: str
    ) -> "Content":
        """Fit stored tensors to a head; raise where any tensor of it is not there."""
        config.validate(building=True)
        chosen = head_of(config, stored) if head is None else head_named(head)
        has_pooler = any(heads_with(canonical_name(name)) == ("pooler",) for name in stored)
        comparison = compare(
            parameters(config, chosen, add_pooling_layer=has_pooler), stored, unwrap=not strict
        )
        model = model_class_name(config.model_type, chosen)
        if strict:
            comparison.refuse(f"the checkpoint in {what} does not fit {model}", ignore_mismatched_sizes=False)
        if absent := comparison.info().newly_initialised:
            raise TensorMismatch(
                given=f"the checkpoint in {what} lacks {listed(absent, 5)} of {model}",
                expected="every tensor of the model: a conversion draws none anew",
                hint="ask for a head that is there, such as head='model'",
            )
        tensors = dict(comparison.found)
        if head is None:
            prefix = BACKBONE_PREFIX if chosen.group else ""
            for name in comparison.harmless:
                short = canonical_name(name.removeprefix(comparison.wrapper)).removeprefix(BACKBONE_PREFIX)
                tensors[(prefix if heads_with(short) == ("pooler",) else "") + short] = stored[name]
            for name in tied_copies(tensors, config.to_json_string()):
                del tensors[name]
        kept = {id(tensor) for tensor in tensors.values()}
        left_out = sorted(name for name, tensor in stored.items() if id(tensor) not in kept)
        return cls(config, chosen, has_pooler, tensors, left_out, comparison.disagreements())

    def model(self) -> Model:
        """Return the executable specification of it."""
        kind = class_for(self.head.name, self.config.model_type)
        pooler = self.has_pooler or self.head.pooler != "optional"
        return kind(self.config, weights=self.tensors, add_pooling_layer=pooler)
