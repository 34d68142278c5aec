"""The documented call of a Flax model: what it is given, looked at; the module, run; what it gives, laid out.

Shape letters: B batch, L length, K keys, W width, H heads.
"""

from collections.abc import Callable, Mapping
from typing import Final, cast

import jax
import numpy as np

from robertakit.architecture import BACKBONE_PREFIX, HEADS, Head
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, InputError
from robertakit.jax.cache import Cache, init_cache, tokens_so_far
from robertakit.jax.calling import as_arrays, check_concrete, check_flags, for_module
from robertakit.jax.contents import plain
from robertakit.jax.loading import Loadable
from robertakit.outputs import ModelOutput

__all__ = ["Answering"]

_OF_BACKBONE: Final = BACKBONE_PREFIX.rstrip(".")
Output = ModelOutput[jax.Array]


class Answering(Loadable):
    """Gives a model its call, and the cache of one."""

    dtype: np.dtype[np.generic]

    def init_cache(self, batch_size: int, max_length: int) -> Cache:
        """Return an empty cache for `past_key_values`.

        Args:
            batch_size: rows of the calls to come.
            max_length: tokens that it has room for.

        Raises:
            ArgumentError: no decoder.
            TooLong: more room than there are positions.
        """
        return init_cache(cast(RobertaConfig, self.config), self.head, batch_size, max_length, self.dtype)

    def __call__(
        self,
        input_ids: object = None,
        attention_mask: object = None,
        token_type_ids: object = None,
        position_ids: object = None,
        head_mask: object = None,
        encoder_hidden_states: object = None,
        encoder_attention_mask: object = None,
        params: Mapping[str, object] | None = None,
        dropout_rng: jax.Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        past_key_values: Mapping[str, object] | None = None,
        *,
        inputs_embeds: object = None,
        labels: object = None,
        start_positions: object = None,
        end_positions: object = None,
        use_cache: bool | None = None,
    ) -> Output | tuple[object, ...]:
        """Compute the documented output.

        Arrays are JAX's or NumPy's; nested lists are taken, too. Multiple choice has an axis of choices behind B.

        Args:
            input_ids: (B, L).
            attention_mask: (B, L), 1 for real tokens; or (B, L, L), which keys each query sees. With a cache the keys
                are all its slots, or the cached tokens and these.
            token_type_ids: (B, L), zeros if None.
            position_ids: (B, L) or (1, L); made from the ids, and what a cache holds, if None.
            head_mask: (H,) or (layers, H), factors for the attention maps.
            encoder_hidden_states: (B, K, W) for the cross-attention of a decoder.
            encoder_attention_mask: (B, K) or (B, L, K).
            params: in place of the model's own.
            dropout_rng: key of the dropout in training.
            train: whether dropout applies.
            output_attentions: also return the maps; the config's setting if None.
            output_hidden_states: also return every layer's states; the config's setting if None.
            return_dict: False for a tuple; the config's setting if None.
            past_key_values: what `init_cache` or an earlier call of a decoder returned.
            inputs_embeds: (B, L, W), in place of the ids.
            labels: what makes a loss; see the PyTorch class of the same name.
            start_positions: (B,), of question answering.
            end_positions: (B,), of question answering.
            use_cache: whether a decoder returns `past_key_values`; if None it does where it is given some. True
                without any makes a cache for as many tokens as the model has positions.

        Returns:
            The documented container. `past_key_values` is a new tree, the one given stays as it was.

        Raises:
            ArgumentError: labels of another head, a cache for an encoder, `train=True` without `dropout_rng`.
            InputError: an id without a row; more tokens than positions or room in the cache (`TooLong`); shapes that
                do not fit (`BadShape`).
            TensorMismatch: `params` are not the model's.
        """
        switches = {
            "train": train, "output_attentions": output_attentions, "output_hidden_states": output_hidden_states,
            "return_dict": return_dict, "use_cache": use_cache,
        }  # fmt: skip
        check_flags(**switches)
        given = {
            "input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids,
            "position_ids": position_ids, "head_mask": head_mask, "inputs_embeds": inputs_embeds,
            "encoder_hidden_states": encoder_hidden_states, "encoder_attention_mask": encoder_attention_mask,
        }  # fmt: skip
        targets = self._targets(labels, start_positions, end_positions)
        past = self._past(past_key_values)
        return self._answer(as_arrays(given), targets, params, dropout_rng, past, switches)

    def _answer(
        self,
        given: Mapping[str, object],
        targets: Mapping[str, object],
        params: Mapping[str, object] | None,
        dropout_rng: jax.Array | None,
        past: Cache | None,
        switches: Mapping[str, bool | None],
    ) -> Output | tuple[object, ...]:
        """Look at the values that are there, run the module, and lay out what it gives."""
        if self.check_inputs:
            so_far = 0 if past is None else tokens_so_far(self._backbone_of(past))
            check_concrete(self.config, self.head, given, targets, so_far)
        tree = self.params if params is None else self.contents.checked(params, type(self).__name__)
        asked = switches["use_cache"]
        cached = self.config.is_decoder and (past is not None if asked is None else bool(asked))
        apply: Callable[..., object] = self._module.apply
        answer = apply(
            {"params": tree} | ({} if past is None else {"cache": past}),
            **for_module(given),
            **for_module(targets),
            use_cache=cached,
            output_attentions=self._switch("output_attentions", switches),
            output_hidden_states=self._switch("output_hidden_states", switches),
            deterministic=not switches["train"],
            rngs=self._rngs(dropout_rng, bool(switches["train"])),
            mutable=["cache"] if cached or past is not None else False,
        )
        output, kept = cast("tuple[Output, Cache]", answer if isinstance(answer, tuple) else (answer, {}))
        if cached and "cache" in kept and "past_key_values" in output.field_names:
            output["past_key_values"] = plain(cast(Cache, kept["cache"]))
        as_dict = switches["return_dict"]
        as_dict = self.config.use_return_dict if as_dict is None else as_dict
        return output if as_dict else _as_tuple(output, HEADS[self.head])

    def _switch(self, name: str, switches: Mapping[str, bool | None]) -> bool:
        """A switch of a call; the configuration says where the caller does not."""
        given = switches[name]
        return bool(getattr(self.config, name) if given is None else given)

    def _targets(self, labels: object, starts: object, ends: object) -> dict[str, object]:
        """The labels of this head.

        Raises:
            ArgumentError: one of another head.
        """
        given = {"labels": labels, "start_positions": starts, "end_positions": ends}
        documented = HEADS[self.head].labels
        for name, value in given.items():
            if value is not None and name not in documented:
                raise ArgumentError(
                    given=f"{name} to {type(self).__name__}",
                    expected=" and ".join(documented) or "a model with a head",
                )
        return as_arrays({name: given[name] for name in documented})

    def _past(self, past_key_values: object) -> Cache | None:
        """The cache of a call."""
        if past_key_values is None:
            return None
        if not self.config.is_decoder:
            raise ArgumentError(
                given="past_key_values with is_decoder=False",
                expected="a decoder",
                hint="set is_decoder=True",
            )
        past = plain(past_key_values) if isinstance(past_key_values, Mapping) else {}
        if "cache_index" not in self._backbone_of(past):
            raise InputError(
                given=f"past_key_values of type {type(past_key_values).__name__}",
                expected="what init_cache or an earlier call returned",
            )
        return past

    def _backbone_of(self, cache: Cache) -> Cache:
        return cache if HEADS[self.head].group is None else cast(Cache, cache.get(_OF_BACKBONE, {}))

    def _rngs(self, dropout_rng: jax.Array | None, train: bool) -> dict[str, jax.Array]:
        """The keys of a call.

        Raises:
            ArgumentError: dropout without one.
        """
        if dropout_rng is not None:
            return {"dropout": dropout_rng}
        config = self.config
        rates = (
            config.hidden_dropout_prob,
            config.attention_probs_dropout_prob,
            config.classifier_dropout or 0,
        )
        if train and any(rates):
            raise ArgumentError(
                given="train=True without dropout_rng",
                expected="a key",
                hint="dropout_rng=jax.random.key(0), another one in each step",
            )
        return {}


def _as_tuple(output: Output, head: Head) -> tuple[object, ...]:
    """The tuple of `return_dict=False`; the pooler's place is kept where there is none, as in PyTorch."""
    own = {name: getattr(output, name) for name in ("loss", *head.outputs) if name in output.field_names}
    answer = type(output).answer(own, output, as_dict=False, keep_none=("pooler_output",))
    return cast(tuple[object, ...], answer)
