"""One way of `frameworks_speed.py`, in a process of its own: it loads a model, answers, and times what it is told to.

    python benchmarks/frameworks_ways.py WAY FOLDER

Ours need robertakit and the way's framework; the ways whose names begin with "theirs" need transformers 4.57 and its
TensorFlow (with tf-keras) or Flax classes, and nothing of ours. Commands come as lines on standard input: "answer FILE"
stores the hidden states, "time N" tells the seconds of N answers, the wall's and the processor's; results go out as
JSON lines.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

#: A call: ids (B, L) int32, mask (B, L) int32 -> hidden states (B, L, W), computed when it returns.
Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def torch_ours(folder: str) -> Answer:
    """The documented call, without padding to leave out."""
    import torch

    from robertakit.torch import RobertaForMaskedLM

    torch.set_num_threads(int(os.environ["THREADS"]))
    model = RobertaForMaskedLM.from_pretrained(folder).eval().roberta

    def answer(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            given = {
                "input_ids": torch.from_numpy(ids).long(),
                "attention_mask": torch.from_numpy(mask).long(),
            }
            return model(**given).last_hidden_state.numpy()

    return answer


def jax_ours(folder: str) -> Answer:
    """The module, under `jax.jit`."""
    import jax

    from robertakit.jax import FlaxRobertaForMaskedLM

    model = FlaxRobertaForMaskedLM.from_pretrained(folder)
    call = jax.jit(
        lambda params, ids, mask: model.module.apply({"params": params}, ids, mask, method="encode")
    )
    return lambda ids, mask: np.asarray(call(model.params, ids, mask))


def tensorflow_ours(folder: str, xla: bool) -> Answer:
    """The backbone, under `tf.function`."""
    import tensorflow as tf

    from robertakit.tensorflow import TFRobertaForMaskedLM

    _tensorflow_threads()
    model = TFRobertaForMaskedLM.from_pretrained(folder)
    call = tf.function(lambda ids, mask: model.encode(ids, mask, None, None), jit_compile=xla)
    return lambda ids, mask: call(tf.constant(ids), tf.constant(mask)).numpy()


def flax_theirs(folder: str) -> Answer:
    """The reference's class, under `jax.jit`."""
    import jax
    import transformers

    model = transformers.FlaxRobertaForMaskedLM.from_pretrained(folder)

    @jax.jit
    def call(params: object, ids: object, mask: object) -> object:
        return model(ids, mask, params=params, output_hidden_states=True).hidden_states[-1]

    return lambda ids, mask: np.asarray(call(model.params, ids, mask))


def tensorflow_theirs(folder: str, xla: bool) -> Answer:
    """The reference's class, under `tf.function`."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    import transformers

    _tensorflow_threads()
    from safetensors.numpy import load_file
    from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

    model = transformers.TFRobertaForMaskedLM(transformers.RobertaConfig.from_pretrained(folder))
    stored = load_file(
        Path(folder) / "model.safetensors"
    )  # what its own from_pretrained cannot open any more
    load_pytorch_state_dict_in_tf2_model(model, stored, allow_missing_keys=True)
    backbone = model.roberta
    call = tf.function(
        lambda ids, mask: backbone(ids, attention_mask=mask, training=False).last_hidden_state,
        jit_compile=xla,
    )
    return lambda ids, mask: call(tf.constant(ids), tf.constant(mask)).numpy()


def _tensorflow_threads() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(int(os.environ["THREADS"]))


WAYS: dict[str, Callable[[str], Answer]] = {
    "torch": torch_ours,
    "jax": jax_ours,
    "tensorflow_xla": lambda folder: tensorflow_ours(folder, xla=True),
    "tensorflow_graph": lambda folder: tensorflow_ours(folder, xla=False),
    "theirs_flax": flax_theirs,
    "theirs_tensorflow_xla": lambda folder: tensorflow_theirs(folder, xla=True),
    "theirs_tensorflow_graph": lambda folder: tensorflow_theirs(folder, xla=False),
}


def main() -> None:
    """Load, and do what standard input says until it ends."""
    way, folder = sys.argv[1:]
    inputs = np.load(Path(folder) / "inputs.npz")
    ids, mask = inputs["ids"], inputs["mask"]
    began = time.perf_counter()
    answer = WAYS[way](folder)
    tell({"load": time.perf_counter() - began})
    for line in sys.stdin:
        command, argument = line.split(maxsplit=1)
        if command == "answer":
            began = time.perf_counter()
            states = answer(ids, mask)
            first = time.perf_counter() - began
            np.save(argument.strip(), states)
            tell({"first": first})
        else:
            seconds, processor = [], []
            for _ in range(int(argument)):
                began, busy = time.perf_counter(), time.process_time()
                answer(ids, mask)
                seconds.append(time.perf_counter() - began)
                processor.append(time.process_time() - busy)
            tell({"seconds": seconds, "processor_seconds": processor})


def tell(found: dict[str, object]) -> None:
    """Write a line that the measuring process waits for."""
    print("::" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
