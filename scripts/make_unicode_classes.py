"""Write src/robertakit/tokenizers/unicode_classes.py from the behaviour of the installed `tokenizers`.

What counts as a letter, a number or white space decides where byte-level BPE splits, and it depends on the
Unicode version of whoever splits. The tables shipped are those of tokenizers 0.22.2 (0.23.3 has the same);
run this with another release to see what it would change.
"""

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

import tokenizers
from tokenizers import pre_tokenizers

TARGET = Path(__file__).resolve().parent.parent / "src" / "robertakit" / "tokenizers" / "unicode_classes.py"

HEADER = '''"""Letters, numbers and white space as GPT-2's splitter sees them in `tokenizers` {version}.

Written by scripts/make_unicode_classes.py: ranges of code points in hexadecimal, both ends included.
"""

'''


def code_points_where(holds: Callable[[str], bool]) -> list[int]:
    """Return the code points, surrogates left out, for whose character `holds`."""
    scalars = (*range(0xD800), *range(0xE000, 0x110000))
    return [point for point in scalars if holds(chr(point))]


def ranges(points: list[int]) -> list[tuple[int, int]]:
    """Return sorted code points as ranges, both ends included."""
    found: list[tuple[int, int]] = []
    for point in points:
        if found and point == found[-1][1] + 1:
            found[-1] = (found[-1][0], point)
        else:
            found.append((point, point))
    return found


def constant(name: str, points: list[int]) -> str:
    """Return the source of one table."""
    words = " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in ranges(points))
    lines = textwrap.wrap(words, 104, break_long_words=False, break_on_hyphens=False)
    return f"{name} = (\n" + "".join(f'    "{line} "\n' for line in lines[:-1]) + f'    "{lines[-1]}"\n)\n'


def main() -> None:
    """Ask `tokenizers` about every code point and write the tables."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str

    def joins(neighbour: str, character: str) -> bool:
        return len(split(neighbour + character + neighbour)) == 1

    letters = code_points_where(lambda character: joins("a", character))
    numbers = code_points_where(lambda character: joins("1", character))
    others = set(code_points_where(lambda character: joins("!", character)))
    known = others.union(letters, numbers)
    spaces = code_points_where(lambda character: ord(character) not in known)
    tables = [constant(*table) for table in (("LETTERS", letters), ("NUMBERS", numbers), ("SPACES", spaces))]
    TARGET.write_text(HEADER.format(version=tokenizers.__version__) + "\n".join(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
