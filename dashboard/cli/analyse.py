"""`analyse`: turn texts into files, without the page."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.cli._derive import check_words
from dashboard.cli._outputs import Files, OutputError, Table, check_location, check_pair, check_usage
from dashboard.cli._runs import Runs
from dashboard.cli._steps import STOPPED, suggesting
from dashboard.errors import BadRequestError, DashboardError, ModelError, UsageError
from dashboard.settings import Settings

SOME_FAILED = 3
EXAMPLES = """
the extension of --out decides what is written:
  .csv           one row per token: surprisal, rank, entropy, likeliest token; for each text its number of tokens,
                 perplexity (masked models: pseudo-perplexity) and run. All texts go into one file.
  .npz           the whole run: hidden states, query, key, head scores, predictions. One file per text.
  .safetensors   the same, readable without copying; dashboard.open_run(path) opens both.
  .html          the report: the first figure of each card, and those of --derive, on one page that works offline.
                 One file per text.

With --pair, each text is a pair: write --text TEXT --pair TEXT; or --file with --pair alone, for lines of two texts
with a tab between them. The model's tokenizer separates the two; a model whose tokenizer has no separator takes no
pairs. A table of pairs has two more columns, the segment of each token (0 or 1) and the second text.

With --file and one file per text, {line} and {key} in --out stand for the line's number and the run's name;
without either, the number is added before the extension (run.npz: run-0001.npz).

Run an interrupted command again, and it continues where it stopped: it skips the runs that the output has already, by
their names (a hash of model, options and text), even if lines were added or moved. A text that occurs twice is run
once. Reports, and runs with derived results, are written again from what is saved. A table belongs to one model: rows
of other weights, or of another version of this program, are refused.

examples:
  python -m dashboard analyse --model smollm2-135m --text "The cat sat" --out cat.csv
  python -m dashboard analyse --model smollm2-135m --file texts.txt --out "runs/{line}-{key}.npz"
  python -m dashboard analyse --model minilm-l6 --text "A cat sat." --pair "It purred." --out pair.csv
  python -m dashboard analyse --model minilm-l6 --file pairs.tsv --pair --out pairs.csv
  python -m dashboard analyse --model smollm2-135m --chat --text "Who wrote Faust?" --out chat.csv
  python -m dashboard analyse --model rxnmapper --text "CCO>>CC=O" --derive masked-prediction position=all --out run.npz
  python -m dashboard analyse --model smollm2-135m --text "The cat sat" --derive logit-lens --out lens.html
  python -m dashboard analyse --model rxnmapper --text "CCO>>CC=O" --layer 10 --head 5 --token 8 --out report.html

exit codes: 0 every text is done; 1 nothing could be done, and a sentence on standard error says why; 2 wrong usage;
3 some texts failed, each with its line and a sentence on standard error; 130 stopped with Ctrl+C.
"""


@dataclass(frozen=True)
class Text:
    """One text or pair, and the number of its line in the file (1 is the first; 1 for --text).

    Attributes:
        text: the text; of a line with a pair, the whole line. pair: the second text; True if the line holds both.
    """

    line: int
    text: str
    pair: str | bool | None = None

    def texts(self) -> tuple[str, str | None]:
        """The text, and the second one of a pair.

        Raises:
            BadRequestError: a line that must hold two texts does not.
        """
        if not isinstance(self.pair, bool):
            return self.text, self.pair
        first, *others = self.text.split("\t")
        if not others:
            raise BadRequestError("the line has no tab. Put one between its two texts.")
        if len(others) > 1:
            raise BadRequestError(f"the line has {len(others)} tabs. Leave only the one between its two texts.")
        if not first.strip() or not others[0].strip():
            missing = "second" if first.strip() else "first"
            raise BadRequestError(f"the line lacks its {missing} text. Write two, with a tab between them.")
        return first, others[0]


def add(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    analyse = commands.add_parser(
        "analyse",
        help="run texts and write tables, runs or reports",
        description="Run one text, or each line of a file, and write what the model did with it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    analyse.add_argument(
        "--model", required=True, help="a name that `python -m dashboard models` lists, a folder or a hub id"
    )
    analyse.add_argument(
        "--tokenizer", metavar="MODEL", help="the model whose tokenizer reads the texts, for a model that has none"
    )
    given = analyse.add_mutually_exclusive_group(required=True)
    given.add_argument("--text", help="the text, exactly as the model is to read it")
    given.add_argument("--file", type=Path, help="a file in UTF-8 with one text per line; empty lines are skipped")
    analyse.add_argument(
        "--pair",
        nargs="?",
        const=True,
        metavar="TEXT",
        help="the second text of a pair; with --file and no TEXT: each line has two texts with a tab between them",
    )
    analyse.add_argument(
        "--chat",
        action="store_true",
        help="each text is a user's message: the model reads it in its chat template, with the prompt for an answer",
    )
    analyse.add_argument(
        "--out", required=True, type=Path, help="where to write; the extension decides what (see below)"
    )
    analyse.add_argument(
        "--attention",
        action="store_true",
        help="runs also hold all attention weights (they follow from the rest)",
    )
    analyse.add_argument(
        "--derive",
        nargs="+",
        action="append",
        default=[],
        metavar=("KIND", "NAME=VALUE"),
        help="runs also hold this derived result, such as masked-prediction position=3 (or position=all), "
        "and reports have the tabs that show it; can be repeated",
    )
    for name, what in (("layer", "layer"), ("head", "head"), ("token", "token"), ("second", "second token")):
        analyse.add_argument(f"--{name}", type=_index, help=f"{what} that a report shows, counted from 0")
    analyse.add_argument(
        "--recent",
        action="store_true",
        help="list the runs under Recent on the page of a server with the same cache folder, for all its visitors",
    )
    analyse.add_argument("--quiet", action="store_true", help="print only errors on standard error, no progress")
    analyse.set_defaults(command=_analyse)


def _index(given: str) -> int:
    if not (given.isascii() and given.isdigit()):
        raise argparse.ArgumentTypeError(f"{given} is not a whole number, 0 or more")
    return int(given)


def _analyse(settings: Settings, parsed: argparse.Namespace) -> int:
    check_usage(parsed)
    check_pair(parsed)
    check_words(parsed.derive)
    texts = list(read_texts(parsed))
    say: Callable[[str], None] = (lambda _line: None) if parsed.quiet else _say
    with suggesting(parsed.model, settings):
        runs = Runs(settings, parsed.model, say, parsed.recent, parsed.tokenizer, parsed.chat)
        if parsed.chat:
            runs.check_chat()
        if parsed.pair is not None:
            runs.check_pairs()
        check_location(parsed, parsed.model, runs.layers, runs.heads)
        suffix = parsed.out.suffix.lower()
        output = Table(parsed.out, runs, parsed.pair is not None) if suffix == ".csv" else Files(parsed, suffix, runs)
        return _each(runs, output, texts, say)


def _each(runs: Runs, output: Table | Files, texts: list[Text], say: Callable[[str], None]) -> int:
    """Process the texts one by one; return the exit code."""
    failed, lines = 0, dict[str, int]()
    for count, text in enumerate(texts, start=1):
        place = f"line {text.line} ({count} of {len(texts)})"
        try:
            say(f"{place}: {_one(runs, output, text, lines)}")
        except (ModelError, OutputError, UsageError):
            raise
        except DashboardError as error:
            failed += 1
            _say(f"{place}: {error}")
        except KeyboardInterrupt:
            _say(
                f"Stopped at {place}."
                + (" The same command continues there." if output.resumes and len(texts) > 1 else "")
            )
            return STOPPED
    if failed == len(texts):
        return 1
    return SOME_FAILED if failed else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _one(runs: Runs, output: Table | Files, text: Text, lines: dict[str, int]) -> str:
    """Process one text; return what was done. `lines`: run → the first line of this command that has its text."""
    texts = text.texts()
    key = runs.key(*texts)
    if key in lines:
        return f"is the same text as line {lines[key]}, which is done"
    if output.has(key, text.line):
        lines[key] = text.line
        runs.list(key)
        return "is in the output already"
    run, computed = runs.get(*texts)
    path = output.write(run, text.line)
    lines[key] = text.line
    speed = runs.speed()
    how = "" if speed is None else f", {speed:,.0f} tokens/s"
    warning = "" if run.not_finite is None else f". {run.not_finite.sentence}"
    return f"{len(run):,} tokens{how if computed else ', from the saved runs'} → {path}{warning}"


def read_texts(parsed: argparse.Namespace) -> Iterator[Text]:
    """Yield the text, or the file's lines that are not empty.

    Raises:
        BadRequestError: the file cannot be read, is not UTF-8, or holds no text.
    """
    if parsed.file is None:
        yield Text(1, parsed.text, parsed.pair)
        return
    try:
        content = parsed.file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadRequestError(f"{parsed.file} cannot be read ({error.strerror}). Check --file.") from error
    except UnicodeDecodeError as error:
        raise BadRequestError(f"{parsed.file} is not UTF-8 (byte {error.start:,}). Save it as UTF-8.") from error
    found = [
        Text(line, text, parsed.pair)
        for line, text in enumerate(re.split(r"\r\n|\n|\r", content), start=1)
        if text.strip()
    ]
    if not found:
        raise BadRequestError(f"{parsed.file} holds no text. Write one text a line.")
    yield from found
