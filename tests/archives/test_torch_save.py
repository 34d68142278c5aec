"""Where the storages of a ``torch.save`` file lie; the tensors made of them: ``checkpoints/test_torch_files.py``."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from robertakit.archives.pickles import Namespace, TensorReference
from robertakit.archives.torch_save import LEGACY_MAGIC, ZIP_MAGIC, open_torch_archive

torch = pytest.importorskip("torch")

BOTH = pytest.mark.parametrize("new", [True, False], ids=["zip", "stream"])


@BOTH
def test_everything_beside_tensors_is_told_too(tmp_path: Path, new: bool) -> None:
    """Fairseq's form: settings, counters, an optimizer's state with numbers as keys."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    saved = {
        "args": argparse.Namespace(arch="roberta_base", dropout=0.1, inner=argparse.Namespace(a=[1, None])),
        "model": {"weight": weight.detach(), "half": weight.detach()[1:]},
        "last_optimizer_state": optimizer.state_dict(),
    }
    path = tmp_path / "model.pt"
    torch.save(saved, path, _use_new_zipfile_serialization=new)
    assert path.read_bytes().startswith(ZIP_MAGIC if new else LEGACY_MAGIC)
    archive = open_torch_archive(path)
    state = archive.state
    assert isinstance(state, dict)
    assert state["args"] == Namespace(
        {"arch": "roberta_base", "dropout": 0.1, "inner": Namespace({"a": [1, None]})}
    )
    weights = state["model"]["weight"], state["model"]["half"]
    assert all(isinstance(each, TensorReference) for each in weights)
    assert weights[0].storage == weights[1].storage
    assert (weights[0].offset, weights[1].offset, weights[1].shape) == (0, 1, (2,))
    first, length = archive.storages[weights[0].storage.key]
    assert np.frombuffer(archive.data, np.float32, length // 4, first).tolist() == weight.tolist()
    assert isinstance(state["last_optimizer_state"]["state"][0]["exp_avg"], TensorReference)
