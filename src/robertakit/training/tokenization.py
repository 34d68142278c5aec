"""Sources to shards: in parallel, able to go on after a kill at any instant, the same bytes however it is run.

Every process reads files by itself and tokenizes the parts that are its own (`parts.py`); a file that is large beside
the others is read by several, each of which takes every so manieth part. When all parts are there, they are put in a
row (`shards.py`), and the manifest is written last.
"""

import multiprocessing
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from robertakit.errors import ArgumentError, ShardError, SourceError, listed
from robertakit.tokenizers import AutoTokenizer, PreTrainedTokenizerBase
from robertakit.training.faults import Faults
from robertakit.training.file_states import file_states, states_in
from robertakit.training.parts import PartMaker, fingerprint, load_part, text_parts
from robertakit.training.shard_writing import ShardWriter, write_manifest
from robertakit.training.shards import MANIFEST, Corpus, SpecialIds, read_manifest
from robertakit.training.sources import Source

__all__ = ["tokenize"]

#: Bytes of files below which one process does the work: starting others takes as long.
_SMALL = 1 << 21
_PARTS = "parts"


@dataclass(frozen=True)
class _Job:
    """Every `of`-th part of a file, from part `first` on."""

    number: int
    path: Path
    source: Source
    first: int
    of: int
    size: float


def tokenize(
    sources: Sequence[Source],
    tokenizer: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    workers: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    r"""Tokenize sources into a folder of shards, each document once, and open it.

    Killed at any instant, the same call goes on from the parts that were done. Where the folder is finished and its
    files of text, their sizes and times of change, and the tokenizer are those of the call, it is opened as it is;
    weights, names, languages and licences are brought up to date.

    Args:
        sources: what to read.
        tokenizer: folder (or name on the Hub) of RoBERTa's, XLM-R's or any other tokenizer that has special tokens for
            masked-LM training.
        folder: of the shards; made if it is not there. It needs room for the tokens twice.
        workers: processes; 0 takes all cores, and one for a few megabytes. More than one start a Python each, which
            imports the calling script: it has to keep what it runs behind ``if __name__ == "__main__":``.
        overwrite: make the shards anew where the folder holds those of other text or of another tokenizer.
        progress: called with the bytes of files that are done, and all.

    Returns:
        The corpus; its ``manifest`` has each source's counts, and what was left out of it and why.

    Raises:
        SourceError: a file that cannot be found or read to its end, or a source without any text; it is named.
        ShardError: the folder holds shards of something else, or the disk refused.
        TokenizerError, NotFound: no such tokenizer.

    Example:
        >>> from tempfile import mkdtemp
        >>> from robertakit import embedded
        >>> text = Path(mkdtemp()) / "two.txt"
        >>> _ = text.write_text("First document. Two sentences.\n\nSecond document.\n")
        >>> corpus = tokenize([Source((str(text),))], embedded.folder(), text.with_suffix(""))
        >>> corpus.sources[0].document_offsets.tolist()
        [0, 2, 3]
    """
    folder, place = Path(folder), os.fspath(tokenizer)
    _require_titles(sources)
    loaded = AutoTokenizer.from_pretrained(place)
    files = [source.paths() for source in sources]
    manifest = _manifest(folder)
    settings = _settings(sources, files, loaded, manifest)
    finished = _finished(folder, manifest, settings, overwrite)
    if finished is not None:
        rows = finished["sources"]
        assert isinstance(rows, list)
        told = [{**row, **_told(source)} for row, source in zip(rows, sources, strict=True)]
        if told != rows:
            with _disk(folder):
                write_manifest(folder, {**finished, "sources": told})
        shutil.rmtree(folder / _PARTS, ignore_errors=True)
        return Corpus.open(folder)

    with _disk(folder):
        (folder / _PARTS).mkdir(parents=True, exist_ok=True)
    processes = _processes(workers, files)
    names = _run(_jobs(files, sources, processes), processes, place, loaded, folder / _PARTS, progress)
    with _disk(folder):
        rows = [
            {**_told(source), **_join(folder, number, source, names, len(loaded))}
            for number, source in enumerate(sources)
        ]
        about = {
            "vocab_size": len(loaded),
            "special": asdict(SpecialIds.of(loaded)),
            "settings": settings,
            "sources": rows,
        }
        write_manifest(folder, about)
    shutil.rmtree(folder / _PARTS, ignore_errors=True)
    return Corpus.open(folder, verify=False)


# --- what was asked for, and what is there ---


def _manifest(folder: Path) -> dict[str, object]:
    """The manifest of a folder, empty where it has none."""
    if folder.exists() and not folder.is_dir():
        raise ShardError(given=f"'{folder}' is a file", expected="a folder for the shards")
    return read_manifest(folder) or {}


def _settings(
    sources: Sequence[Source],
    files: Sequence[Sequence[Path]],
    tokenizer: PreTrainedTokenizerBase,
    manifest: dict[str, object],
) -> dict[str, object]:
    """All that decides the arrays; files with the content that the manifest tells of are told as there."""
    there = manifest.get("settings")
    before = states_in(there.get("sources") if isinstance(there, dict) else None)
    return {
        "tokenizer": fingerprint(tokenizer),
        "sources": [
            {
                "format": source.format,
                "field": source.field,
                "share": list(source.share),
                "files": file_states(paths, before),
            }
            for source, paths in zip(sources, files, strict=True)
        ],
    }


def _told(source: Source) -> dict[str, object]:
    """What is told of a source and decides no token."""
    return {
        "name": source.title,
        "weight": source.weight,
        "language": source.language,
        "licence": source.licence,
        "attribution": source.attribution,
    }


def _require_titles(sources: Sequence[Source]) -> None:
    if not sources:
        raise ArgumentError(given="no sources", expected="at least one")
    twice = [title for title, count in Counter(source.title for source in sources).items() if count > 1]
    if twice:
        raise ArgumentError(
            given=f"several sources of the name {listed(twice)}", expected="a name for each", hint="set name"
        )


def _finished(
    folder: Path, manifest: dict[str, object], settings: dict[str, object], overwrite: bool
) -> dict[str, object] | None:
    """The manifest of a folder that is finished; None where there is work to do."""
    if not manifest:
        return None
    there = manifest.get("settings")
    if there == settings:
        return manifest
    if not overwrite:
        there = there if isinstance(there, dict) else {}
        what = [name for name, value in settings.items() if there.get(name) != value]
        raise ShardError(
            given=f"'{folder}' holds shards of other {' and '.join(what)}",
            expected="shards of the files, as they are now, and the tokenizer that were asked for",
            hint="say overwrite=True, or another folder",
        )
    with _disk(folder):
        (folder / MANIFEST).unlink()  # first: what follows replaces the arrays that it tells of
    return None


# --- the work ---


def _processes(workers: int, files: Sequence[Sequence[Path]]) -> int:
    if workers < 0:
        raise ArgumentError(given=f"workers={workers}", expected="0 for all cores, or a number of processes")
    if workers:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if sum(path.stat().st_size for paths in files for path in paths) < _SMALL else cores


def _jobs(files: Sequence[Sequence[Path]], sources: Sequence[Source], processes: int) -> list[_Job]:
    """The work, largest pieces first."""
    total = sum(path.stat().st_size for paths in files for path in paths) or 1
    jobs = []
    for number, (paths, source) in enumerate(zip(files, sources, strict=True)):
        for path in paths:
            size = path.stat().st_size
            of = min(processes, -(-size * processes // total) or 1)
            jobs += [_Job(number, path, source, first, of, size / of) for first in range(of)]
    return sorted(jobs, key=lambda job: -job.size)


_Done = dict[tuple[int, Path, int], str]
"""(Source, file, part) -> name of the part."""


def _run(
    jobs: Sequence[_Job],
    processes: int,
    place: str,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> _Done:
    done: _Done = {}
    total, finished = sum(job.size for job in jobs), 0.0
    results = _in_pool(jobs, processes, place, folder) if processes > 1 else _here(jobs, tokenizer, folder)
    for job, names in results:
        done |= {(job.number, job.path, part): name for part, name in names.items()}
        finished += job.size
        if progress is not None:
            progress(round(finished), round(total))
    return done


def _here(
    jobs: Sequence[_Job], tokenizer: PreTrainedTokenizerBase, folder: Path
) -> Iterator[tuple[_Job, dict[int, str]]]:
    maker = PartMaker(tokenizer, folder)
    for job in jobs:
        yield job, _work(maker, job)


def _in_pool(
    jobs: Sequence[_Job], processes: int, place: str, folder: Path
) -> Iterator[tuple[_Job, dict[int, str]]]:
    # Started afresh, not forked: what the caller has imported may run threads, which a fork would cut in two.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), context, _begin_worker, (place, folder)) as pool:
        futures = {pool.submit(_work_in_worker, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise ShardError(
                given="a process that tokenizes has ended before its work",
                hint="look above for its own words; it may have been short of memory (fewer workers take less), or the "
                "script that called lacks `if __name__ == '__main__':`. Run again: it goes on",
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


#: What makes parts in a worker.
_makers: list[PartMaker] = []


def _begin_worker(place: str, folder: Path) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _makers.append(PartMaker(AutoTokenizer.from_pretrained(place), folder))


def _end_with_parent() -> None:
    """End with the process that started this one: killed, it cannot say so, and its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work_in_worker(job: _Job) -> dict[int, str]:
    return _work(_makers[0], job)


def _work(maker: PartMaker, job: _Job) -> dict[int, str]:
    parts = enumerate(text_parts(job.path, job.source))
    return {number: maker.make(job.path, part) for number, part in parts if number % job.of == job.first}


def _join(folder: Path, number: int, source: Source, names: _Done, vocab_size: int) -> dict[str, object]:
    """Put the parts of a source in a row; return what the manifest says of it."""
    counts: Counter[str] = Counter()
    faults = Faults()
    writer = ShardWriter(folder, number, vocab_size)
    try:
        for key in sorted(key for key in names if key[0] == number):
            part = load_part(folder / _PARTS / names[key])
            writer.append(part.tokens, part.word_starts, part.sentence_ends, part.document_ends)
            counts.update(part.counts)
            faults.extend(part.faults.counts.items(), part.faults.first)
        if not counts["tokens"]:
            whole = source.share == (0.0, 1.0)
            raise SourceError(
                given=f"source '{source.title}' has no text"
                + ("" if whole else " in share {:g} to {:g} of its documents".format(*source.share))
                + (f"; left out were {dict(faults.counts)}, first {faults.first[0]}" if faults.first else ""),
                expected="at least one document",
                hint="check files, format and field"
                + ("" if whole else ", or the share that is held out: few documents may leave it empty"),
            )
        arrays = writer.close()
    except BaseException:
        writer.abandon()
        raise
    return {
        "counts": dict(counts),
        "faults": dict(sorted(faults.counts.items())),
        "first_faults": faults.first,
        **arrays,
    }


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Errors of the disk as this module's."""
    try:
        yield
    except (ShardError, SourceError):
        raise
    except OSError as error:  # SaveFailed is one
        raise ShardError(
            given=f"shards cannot be written into '{folder}' ({error})",
            hint="make room and run again: it goes on from the parts that are there",
        ) from error
