"""Real tokens of a padded batch: there and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robertakit.torch.rows import Rows, first_tokens

MASKS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=4)
)


@given(mask=MASKS, seed=st.integers(0, 99))
def test_what_is_gathered_comes_back_and_padding_is_zero(mask, seed):
    real = torch.tensor(mask)
    rows = Rows.of(real)
    padded = torch.rand(*real.shape, 3, generator=torch.Generator().manual_seed(seed))
    packed = rows.gather(padded)
    assert torch.equal(packed, padded[real])
    assert torch.equal(rows.pad(packed), padded * real[..., None])
    assert rows.cumulative_lengths.diff().tolist() == real.sum(1).tolist()


def test_the_gradient_of_padding_is_zero():
    real = torch.tensor([[True, False], [True, True]])
    padded = torch.ones(2, 2, 1, requires_grad=True)
    rows = Rows.of(real)
    rows.pad(rows.gather(padded) * 3).sum().backward()
    assert padded.grad[..., 0].tolist() == [[3.0, 0.0], [3.0, 3.0]]


@pytest.mark.parametrize(
    ("real", "want"), [(None, [0, 3]), ([[False, True, False], [True, True, True]], [1, 3])]
)
def test_the_first_real_token_of_each_row(real, want):
    states = torch.arange(6.0).view(2, 3, 1)
    found = first_tokens(states, None if real is None else torch.tensor(real))
    assert found[:, 0].tolist() == want
