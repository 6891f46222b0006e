"""Prints JSON lines for programs, tables and fields for people; always by click.echo."""

import io
import json
import os
import select
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from app.cli.answers import records
from app.cli.exit_codes import BROKEN_PIPE

PLACEHOLDER = "-"  # for unknown values
ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
PIPE_WIDTH = 1_000  # output to a pipe is neither cut nor wrapped

Fields = Mapping[str, Any]


def show_list(items: Iterable[Fields], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        for item in items:
            echo_json(item)
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    rows = [[printable(item.get(column)) for column in columns] for item in items]
    for row in rows:
        table.add_row(*row)
    if sys.stdout.isatty() and Console(width=PIPE_WIDTH).measure(table).maximum > Console().width:
        # Rich would cut the cells: ids that all look alike, times without the time of day.
        for row in rows:
            echo_rich(_fields(zip(columns, row, strict=True)))
            click.echo()
    else:
        echo_rich(table)


def show_one(item: Fields, *, as_json: bool, lists: Mapping[str, Sequence[str]] | None = None) -> None:
    """Prints one item. lists: fields that are printed as tables → their columns."""
    if as_json:
        echo_json(item)
        return
    tables = lists or {}
    echo_rich(_fields((printable(name), printable(value)) for name, value in item.items() if name not in tables))
    for name, columns in tables.items():
        click.echo(f"\n{name}")
        show_list(records(item.get(name)), columns, as_json=False)


def _fields(pairs: Iterable[tuple[str, str]]) -> Table:
    """Returns one line per field; values that are too long are folded."""
    grid = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2))
    for name, value in pairs:
        grid.add_row(name, value)
    return grid


def echo_json(item: Fields) -> None:
    """JSON may contain control characters beyond ASCII, which some terminals obey: they are printed as escapes."""
    click.echo(json.dumps(item, ensure_ascii=False, separators=(",", ":")).translate(ESCAPES))


def echo_rich(renderable: Any) -> None:
    """Prints with colours on a terminal, unless NO_COLOR is set."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else PIPE_WIDTH, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(renderable, soft_wrap=isinstance(renderable, Text))
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=True)


def printable(value: Any) -> str:
    """Returns one line without control characters: names and errors are untrusted."""
    if value is None or value in ("", [], {}):
        return PLACEHOLDER
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def end_with_reader() -> None:
    """Exits when the reader of stdout has closed the pipe; otherwise only the next write would notice."""
    try:
        output = sys.stdout.fileno()
    except io.UnsupportedOperation:
        return
    threading.Thread(target=_exit_when_closed, args=[output], daemon=True).start()


def _exit_when_closed(output: int) -> None:
    poll = select.poll()
    poll.register(output, 0)  # only errors and hang-ups
    poll.poll()
    os._exit(BROKEN_PIPE)
