"""Imports every module of robertakit, and checks that those which need an absent framework say so in one sentence.

With ``--without-frameworks``, the frameworks are hidden first, as if only the core were installed.
"""

import importlib
import sys
from pathlib import Path

FRAMEWORKS = {"torch": ["torch"], "tensorflow": ["tensorflow", "keras"], "jax": ["jax", "flax", "optax"]}


def main() -> int:
    """Import each module, print what is wrong, and return the exit status."""
    if "--without-frameworks" in sys.argv:
        for names in FRAMEWORKS.values():
            sys.modules.update(dict.fromkeys(names))  # None: an import of it fails as of an absent package
    import robertakit
    from robertakit.errors import DependencyError

    wrong, imported, refused = [], 0, 0
    package = Path(robertakit.__file__).parent
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        module = ".".join(["robertakit", *(part for part in parts if part != "__init__")])
        extra = parts[0] if parts[0] in FRAMEWORKS else "train" if parts[0] == "training" else None
        try:
            importlib.import_module(module)
            imported += 1
        except DependencyError as error:
            refused += 1
            if extra is None or f"robertakit[{extra}]" not in str(error):
                wrong.append(f"{module}: {error}")
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the finding)
            wrong.append(f"{module}: {type(error).__name__}: {error}")
    heavy = [name for names in FRAMEWORKS.values() for name in names if sys.modules.get(name)]
    if heavy and "--without-frameworks" in sys.argv:
        wrong.append(f"imported in spite of all: {heavy}")
    print("\n".join(wrong) or f"{imported} modules import, {refused} name the extra that they need")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
