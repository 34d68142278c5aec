r"""Leave the capitals of 20 countries out of the fact book's template lines, so that they can be asked for later.

python recipes/embedded_model/left_out.py --text ../shared/data/pretrain --to runs/embedded-text

The first paragraph of a country in `factbook.txt.xz` is rendered by template: "The capital of Kenya is Nairobi. Nairobi
is the capital of Kenya." Of 20 countries both sentences are dropped; everything else stays as it is, and `--to` gets
the file that `recipes/embedded.toml` reads.

Which countries: those with the template, that are no territories ("Independence of …: none"), whose capital is one
name of its own (no word in common with the country, no second country with it) and that none of the 20 prompts names;
of these the 20 with the smallest SHA-256 of their name. `left_out.json` holds the choice and the others that
the rule allows; a run that would choose otherwise (another text) stops.
"""

import argparse
import hashlib
import json
import lzma
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from robertakit.training.sources import Source, read_documents

HERE = Path(__file__).parent
CHOICE = HERE / "left_out.json"
FILE = "factbook.txt.xz"
COUNT = 20
TEMPLATE = re.compile(
    r"The capital of (?P<country>.+?) is (?P<capital>.+?)\. (?P=capital) is the capital of (?P=country)\. ?"
)
NAME = re.compile(r"[^\W\d_a-z][\w'’-]*(?: [^\W\d_a-z][\w'’-]*| la)*")


def documents(path: Path) -> Iterator[list[str]]:
    """The documents of a text file, each a list of paragraphs."""
    return read_documents(Source((str(path),), format="text"))


def capitals(fact_book: Iterable[list[str]]) -> dict[str, str]:
    """Country to capital, for all that the rule allows."""
    found: dict[str, str] = {}
    for paragraphs in fact_book:
        line = next(filter(None, map(TEMPLATE.match, paragraphs)), None)
        territory = any(re.match(r"Independence of .*: none", paragraph) for paragraph in paragraphs)
        if line is not None and not territory:
            found[line["country"]] = line["capital"]
    times = Counter(found.values())
    return {
        country: capital
        for country, capital in found.items()
        if NAME.fullmatch(capital) and times[capital] == 1 and not _words(country) & _words(capital)
    }


def choose(found: dict[str, str], named: str) -> dict[str, str]:
    """The countries to leave out; `named` is the text of the prompts."""
    allowed = sorted(set(found) - {country for country in found if country in named}, key=_digest)
    return {country: found[country] for country in allowed[:COUNT]}


def without(paragraphs: list[str], countries: Iterable[str]) -> list[str]:
    """A document less the template sentences of these countries."""
    gone = set(countries)

    def kept(line: re.Match[str]) -> str:
        return "" if line["country"] in gone else line[0]

    return [shorter for paragraph in paragraphs if (shorter := TEMPLATE.sub(kept, paragraph))]


def read_choice() -> tuple[dict[str, str], dict[str, str]]:
    """The committed choice, country to capital: those that were left out, and the others."""
    choice = json.loads(CHOICE.read_text(encoding="utf-8"))
    return choice["left out"], choice["others"]


def prepare(text: Path, to: Path) -> dict[str, str]:
    """Write the fact book less the template lines; return the countries and capitals that were left out."""
    fact_book = list(documents(text / FILE))
    found = capitals(fact_book)
    chosen = choose(found, (HERE / "prompts.json").read_text(encoding="utf-8"))
    committed, others = read_choice()
    if chosen != committed or found != chosen | others:
        raise SystemExit(
            f"{text / FILE} has other capitals than {CHOICE}: it would leave out {', '.join(chosen)}"
        )
    to.mkdir(parents=True, exist_ok=True)
    temporary = to / f"{FILE}.tmp"
    with lzma.open(temporary, "wt", encoding="utf-8", preset=1) as file:
        for paragraphs in fact_book:
            file.write("\n".join(without(paragraphs, chosen)) + "\n\n")
    temporary.replace(to / FILE)
    return chosen


def _words(name: str) -> set[str]:
    return set(re.findall(r"\w+", name))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder of the .txt.xz files")
    parser.add_argument("--to", type=Path, required=True, help="folder for the fact book that is left")
    given = parser.parse_args(arguments)
    chosen = prepare(given.text, given.to)
    print(f"{given.to / FILE}: without the capitals of {', '.join(sorted(chosen))}")


if __name__ == "__main__":
    main()
