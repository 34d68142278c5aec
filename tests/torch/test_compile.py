"""`torch.compile` with `fullgraph=True`: packed batches, and documented calls."""

import numpy as np
import pytest
import torch

from robertakit.architecture import HEADS
from robertakit.batch import Batch, Encoding


def packed(lengths, seed):
    generator = np.random.default_rng(seed)
    batch = Batch.from_encodings([Encoding(generator.integers(3, 61, length)) for length in lengths], 1)
    arrays = (batch.input_ids, batch.position_ids, batch.cumulative_lengths)
    return [torch.from_numpy(array).long() for array in arrays]


# Inductor itself uses what PyTorch calls deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_three_packed_batches_compile_at_most_three_times_forward_and_backward(models, tmp_path, monkeypatch):
    """Inductor needs a C++ compiler on a processor, as the docs say; what it made before is not taken."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    model = models.build("model", num_hidden_layers=1)
    compiled = torch.compile(model.encode_packed, fullgraph=True)
    for seed, lengths in enumerate([(5, 9, 3), (7, 7), (12, 1, 4, 9)]):
        batch = packed(lengths, seed)
        found, gradients = [], []
        for encode in (model.encode_packed, compiled):
            model.zero_grad()
            rows = encode(*batch)
            rows.square().sum().backward()
            found.append(rows.detach())
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)
        assert (gradients[1] - gradients[0]).norm() <= 1e-5 * gradients[0].norm()
    assert not counters["graph_break"]
    assert 1 <= counters["stats"]["unique_graphs"] <= 3  # the first, and at most two recompiles


@pytest.mark.parametrize("head", HEADS)
def test_documented_calls_are_one_graph_and_computed_padded(models, head):
    torch._dynamo.reset()
    call = models.ragged(head, labels=True)
    out = torch.compile(models.build(head, num_hidden_layers=1), fullgraph=True, backend="aot_eager")(**call)
    want = models.build(head, num_hidden_layers=1, attn_implementation="sdpa")(**call)
    assert type(out) is type(want)
    for name, value in want.items():
        torch.testing.assert_close(out[name], value, rtol=0, atol=1e-5, msg=name)
