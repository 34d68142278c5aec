"""Checks what a built wheel and sdist hold: ``check_packages.py dist``."""

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What people without a checkout need to test and build.
IN_SDIST = [
    ".ci/run",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "benchmarks/startup.py",
    "constraints/tested.txt",
    "docs/README.md",
    "pyproject.toml",
    "scripts/environment.py",
    "tests/conftest.py",
]
WHEEL_BYTES = 30_000_000


def main() -> int:
    """Print what is missing or too much, and return the exit status."""
    (wheel,), (sdist,) = ([*Path(sys.argv[1]).glob(pattern)] for pattern in ("*.whl", "*.tar.gz"))
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    package = [
        path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    shipped = {path.relative_to(ROOT / "src").as_posix() for path in package}
    wrong = [f"the wheel lacks {name}" for name in sorted(shipped - in_wheel)]
    wrong += [
        f"the wheel should not hold {name}"
        for name in sorted(in_wheel - shipped)
        if not name.split("/")[0].endswith(".dist-info")
    ]
    for paper in ("LICENSE", "NOTICE"):
        if not any(name.endswith(f".dist-info/licenses/{paper}") for name in in_wheel):
            wrong.append(f"the wheel lacks {paper}")
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.*") if path.is_file()}
    tests = {name for name in tests if "__pycache__" not in name}
    wanted = {f"src/{name}" for name in shipped} | tests | set(IN_SDIST)
    wrong += [f"the sdist lacks {name}" for name in sorted(wanted - in_sdist)]
    if wheel.stat().st_size > WHEEL_BYTES:
        wrong.append(f"the wheel has {wheel.stat().st_size:,} bytes")
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in (wheel, sdist))
    print("\n".join(wrong) or f"{sizes}: complete")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
