"""Make ``tests/golden/roberta`` from ``../shared/fixtures/roberta``: calls, losses, gradients, generation, training.

Usage: python scripts/make_golden_roberta.py [../shared/fixtures/roberta]

Each tensor is stored once, under the digest of its contents. The result is the same bytes for the same fixtures.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from replay import Arrays, Case, shared_cases  # noqa: E402

#: Fields of a case that say how the fixtures were made, and nothing about the comparison.
LEFT_OUT = {"format", "reference", "name"}


def main() -> None:
    """Write the two files."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "fixtures" / "roberta"
    target = ROOT / "tests" / "golden" / "roberta"
    tensors: Arrays = {}

    def stored(arrays: Arrays) -> dict[str, str]:
        names = {}
        for name, array in sorted(arrays.items()):
            array = np.array(array, order="C")  # ascontiguousarray would give a scalar an axis
            digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()[:16]
            tensors[digest] = array
            names[name] = digest
        return names

    def entry(case: Case) -> dict[str, object]:
        spec = {key: value for key, value in case.spec.items() if key not in LEFT_OUT}
        return {
            "case": spec,
            "config": case.config,
            "inputs": stored(case.read_inputs()),
            "expected": stored(case.read_expected()),
            "weights": stored(case.read_weights()),
        }

    cases = {name: entry(case) for name, case in shared_cases(source).items()}
    target.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f'"{name}": {json.dumps(case, sort_keys=True)}' for name, case in cases.items())
    (target / "cases.json").write_text(f"{{\n{lines}\n}}\n")
    (target / "tensors.safetensors").write_bytes(save(dict(sorted(tensors.items()))))
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{len(cases)} cases, {len(tensors)} tensors, {size / 2**20:.1f} MiB in {target}")


if __name__ == "__main__":
    main()
