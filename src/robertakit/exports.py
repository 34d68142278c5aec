"""Public names that are imported on first use, so that a package costs nothing until it is used.

Type checkers do not follow this; a package shows them the same names by star imports under TYPE_CHECKING.
"""

from __future__ import annotations

import sys

# Type checkers take this for typing's, whose import would cost the time that this file saves.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec

__all__ = ["Aliases", "lazily"]


def lazily(
    package: str,
    homes: Mapping[str, Sequence[str]],
    submodules: Sequence[str] = (),
    optional: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` of a package whose names live in other modules.

    Args:
        package: the package's ``__name__``.
        homes: module -> public names that live in it.
        submodules: modules of the package that are reached as attributes, too.
        optional: as ``homes``, for names that need an extra: a star import leaves them out.

    Example:
        >>> find, _, names = lazily("robertakit", {"robertakit.errors": ["InputError"]}, ["errors"])
        >>> find("InputError").__name__, find("errors").__name__, names
        ('InputError', 'robertakit.errors', ['InputError'])
    """
    always = {name: home for home, names in homes.items() for name in names}
    home_of = always | {name: home for home, names in (optional or {}).items() for name in names}

    def find(name: str) -> object:
        if name in submodules or Aliases.find_spec(f"{package}.{name}"):
            return _import(f"{package}.{name}")
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(_import(home_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of, *submodules})

    return find, names, sorted(always)


class Aliases:
    """Finds what no file is found for: `robertakit.aliases` has the other names of our modules.

    Stands at the end of ``sys.meta_path``, so that only names without a file come here.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of an alias, or None: Python's finders are asked so."""
        if not name.startswith("robertakit."):
            return None
        from robertakit.aliases import spec_of  # here: it is needed by who imports such a name

        return spec_of(name)


def _import(name: str) -> object:
    from importlib import import_module  # here: it is not needed by who only reads the version

    return import_module(name)
