"""What all models can tell and do that is no part of a forward pass: sizes, masks for one's own layers, checkpointing.

Shape letters: B batch, L queries, K keys, H heads.
"""

import inspect
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, BadShape, listed

__all__ = ["ModuleMethods"]


def _require_gradient(module: nn.Module, inputs: object, output: Tensor) -> None:
    output.requires_grad_(True)


class ModuleMethods(nn.Module):
    """The documented methods that need no more than the modules and the configuration."""

    config: RobertaConfig
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _require_grads_hook: torch.utils.hooks.RemovableHandle | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((tensor.device for tensor in self.parameters()), torch.get_default_device())

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are."""
        dtypes = (tensor.dtype for tensor in self.parameters() if tensor.is_floating_point())
        return next(dtypes, torch.get_default_dtype())

    @property
    def check_inputs(self) -> bool:
        """Whether calls look for ids and labels without a row; False, for all parts, spares an accelerator the wait."""
        return bool(self.__dict__.get("_checks_inputs", True))

    @check_inputs.setter
    def check_inputs(self, value: bool) -> None:
        for module in self.modules():
            if isinstance(module, ModuleMethods):
                module.__dict__["_checks_inputs"] = bool(value)

    @property
    def framework(self) -> str:
        """`"pt"`, as all models of PyTorch."""
        return "pt"

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Ids for a first call, (3, 5)."""
        return {"input_ids": torch.tensor([[7, 6, 0, 0, 1], [1, 2, 3, 0, 0], [0, 0, 0, 4, 5]])}

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of values; a shared one counts once.

        Args:
            only_trainable: leave out what requires no gradient.
            exclude_embeddings: leave out the tables of all `nn.Embedding`.
        """
        tables = {
            id(module.weight)
            for module in self.modules()
            if exclude_embeddings and isinstance(module, nn.Embedding)
        }
        return sum(
            tensor.numel()
            for tensor in self.parameters()
            if id(tensor) not in tables and (tensor.requires_grad or not only_trainable)
        )

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Return the bytes of all parameters, and of the buffers unless told otherwise."""
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(tensor.nelement() * tensor.element_size() for tensor in tensors)

    def estimate_tokens(self, input_dict: Mapping[str, object]) -> int:
        """Return the number of tokens of a call's inputs, padding included; 0 where there are no ids."""
        ids = input_dict.get(self.main_input_name)
        return ids.numel() if isinstance(ids, Tensor) else 0

    def floating_point_ops(self, input_dict: Mapping[str, object], exclude_embeddings: bool = True) -> int:
        """Return the operations of a training step: six a parameter and token (Kaplan et al. 2020, section 2.1)."""
        return (
            6 * self.estimate_tokens(input_dict) * self.num_parameters(exclude_embeddings=exclude_embeddings)
        )

    # Masks, as layers of one's own take them ---------------------------------------------------------------

    def get_extended_attention_mask(
        self,
        attention_mask: Tensor,
        input_shape: tuple[int, ...],
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return what is added to attention scores: 0 where a key is seen, the dtype's smallest number elsewhere.

        Args:
            attention_mask: (B, K) or (B, L, K), 1 for what is seen. To (B, K) a decoder adds that no token sees a
                later one.
            input_shape: (B, L).
            device: of the result; None for the mask's.
            dtype: of the result; None for the model's.

        Returns:
            (B, 1, 1 or L, K).
        """
        if attention_mask.dim() == 3:
            keep = attention_mask[:, None]
        elif attention_mask.dim() != 2:
            raise BadShape(
                given=f"attention_mask {tuple(attention_mask.shape)}",
                expected="(batch, keys), or (batch, queries, keys)",
            )
        elif self.config.is_decoder:
            keep = self.create_extended_attention_mask_for_decoder(input_shape, attention_mask)
        else:
            keep = attention_mask[:, None, None]
        added = self._added(keep, dtype or self.dtype)
        return added if device is None else added.to(device)

    @staticmethod
    def create_extended_attention_mask_for_decoder(
        input_shape: tuple[int, ...], attention_mask: Tensor, device: torch.device | None = None
    ) -> Tensor:
        """Return which keys each of the last L tokens sees, (B, 1, L, K), 1 and 0; arguments as above."""
        keys = attention_mask.shape[1]
        position = torch.arange(keys, device=attention_mask.device)
        earlier = position[None, :] <= position[keys - input_shape[1] :, None]
        seen = earlier.to(attention_mask.dtype) * attention_mask[:, None, None]
        return seen if device is None else seen.to(device)

    def invert_attention_mask(self, encoder_attention_mask: Tensor) -> Tensor:
        """Return what a mask (B, K) or (B, L, K) of an encoder's states adds to scores, (B, 1, 1 or L, K)."""
        if encoder_attention_mask.dim() not in (2, 3):
            raise BadShape(
                given=f"encoder_attention_mask {tuple(encoder_attention_mask.shape)}",
                expected="(batch, keys), or (batch, queries, keys)",
            )
        three = encoder_attention_mask.dim() == 3
        keep = encoder_attention_mask[:, None] if three else encoder_attention_mask[:, None, None]
        return self._added(keep, self.dtype)

    def _added(self, keep: Tensor, dtype: torch.dtype) -> Tensor:
        return (1.0 - keep.to(dtype)) * torch.finfo(dtype).min

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Tensor | list[None]:
        """Return factors for the attention maps of each layer.

        Args:
            head_mask: (H,) or (layers, H), or None.
            num_hidden_layers: layers.
            is_attention_chunked: append an axis.

        Returns:
            (layers, 1, H, 1, 1), in the model's dtype, or a None for each layer.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        if head_mask.dim() == 1:
            head_mask = head_mask.expand(num_hidden_layers, -1)
        if head_mask.dim() == 2:
            head_mask = head_mask[:, None, :, None, None]
        if head_mask.dim() != 5:
            raise BadShape(
                given=f"head_mask {tuple(head_mask.shape)}", expected="(heads,) or (layers, heads)"
            )
        factors = head_mask.to(self.dtype)
        return factors[..., None] if is_attention_chunked else factors

    # Training -----------------------------------------------------------------------------------------------

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, object] | None = None
    ) -> None:
        """Keep only each layer's input for the gradient, and compute the layer again: less memory, more time.

        Args:
            gradient_checkpointing_kwargs: keywords of `torch.utils.checkpoint.checkpoint`; `use_reentrant` is False
                where they do not say.

        Raises:
            ArgumentError: a keyword that PyTorch does not know, or a model without layers of ours.
        """
        arguments: dict[str, object] = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        known = {*inspect.signature(checkpoint).parameters, "preserve_rng_state"} - {
            "function",
            "args",
            "kwargs",
        }
        if unknown := set(arguments) - known:
            raise ArgumentError(
                given=f"gradient_checkpointing_kwargs with {listed(unknown)}",
                expected=f"some of {listed(known)}",
            )
        if not self._set_checkpointing(True, arguments):
            raise ArgumentError(
                given=f"gradient checkpointing of {type(self).__name__}, which has no layers that can",
                expected="a model with an encoder of the family",
            )

    def gradient_checkpointing_disable(self) -> None:
        """Keep what the gradient needs, as at first."""
        self._set_checkpointing(False, {"use_reentrant": False})

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: Mapping[str, object] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """The newer name of `gradient_checkpointing_enable`; every layer is computed again, and nothing offloaded."""
        if every_n_layers != 1 or offload:
            raise ArgumentError(
                given=f"every_n_layers={every_n_layers!r} and offload={offload!r}", expected="1 and False"
            )
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs)

    def activation_checkpointing_disable(self) -> None:
        """The newer name of `gradient_checkpointing_disable`."""
        self.gradient_checkpointing_disable()

    def _set_checkpointing(self, on: bool, arguments: dict[str, object]) -> int:
        """Switch every stack of layers; return how many there are."""
        stacks = [module for module in self.modules() if hasattr(module, "gradient_checkpointing")]
        for stack in stacks:
            vars(stack).update(gradient_checkpointing=on, checkpointing_arguments=dict(arguments))
        return len(stacks)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether layers are computed again for the gradient."""
        return any(getattr(module, "gradient_checkpointing", False) for module in self.modules())

    def enable_input_require_grads(self) -> None:
        """Let a gradient reach the first layer although the embeddings are frozen, as adapters need it."""
        self.disable_input_require_grads()
        self._require_grads_hook = self.get_input_embeddings().register_forward_hook(_require_gradient)

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        if self._require_grads_hook is not None:
            self._require_grads_hook.remove()
            self._require_grads_hook = None

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        raise NotImplementedError
