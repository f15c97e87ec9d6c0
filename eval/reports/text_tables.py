"""Tables of text that become rich, Markdown and LaTeX tables; whatever stands in a cell is shown, never obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_MARKDOWN = {ord(sign): f"\\{sign}" for sign in "\\`*_{}[]<>#|~$"} | {ord("&"): "&amp;"}
_LATEX = {
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("|"): r"\textbar{}",
    ord("["): "{[}",
    ord("]"): "{]}",
    ord("−"): "$-$",
    ord("–"): "--",
    ord("→"): r"$\rightarrow$",
    ord("≤"): r"$\leq$",
    **{ord(sign): f"\\{sign}" for sign in "&%$#_{}"},
}


@dataclass(frozen=True, slots=True)
class TextTable:
    """title: what stands above. num_text_columns: so many from the left hold words, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_text_columns: int = 1

    def rich(self) -> Table:
        """For a terminal, narrow enough for 80 columns where cells are short."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(one_line(self.title)), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(self.columns):
            is_text = number < self.num_text_columns
            table.add_column(Text(one_line(column)), justify="left" if is_text else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        return table

    def markdown(self) -> str:
        """A heading and a pipe table."""
        rules = [":--" if number < self.num_text_columns else "--:" for number in range(len(self.columns))]
        rows = [[one_line(cell).translate(_MARKDOWN) for cell in row] for row in (self.columns, *self.rows)]
        lines = [f"| {' | '.join(row)} |" for row in (rows[0], rules, *rows[1:])]
        return f"### {one_line(self.title).translate(_MARKDOWN)}\n\n" + "\n".join(lines) + "\n"

    def latex(self, notes: Sequence[str] = ()) -> str:
        """A floating table in the manner of the package booktabs, with notes below it."""
        form = "l" * self.num_text_columns + "r" * (len(self.columns) - self.num_text_columns)
        head, *rows = [
            " & ".join(one_line(cell).translate(_LATEX) for cell in row) + r" \\"
            for row in (self.columns, *self.rows)
        ]
        return "\n".join(
            [
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{{one_line(self.title).translate(_LATEX)}}}",
                rf"  \begin{{tabular}}{{{form}}}",
                r"    \toprule",
                f"    {head}",
                r"    \midrule",
                *(f"    {row}" for row in rows),
                r"    \bottomrule",
                r"  \end{tabular}",
                *(_latex_notes(notes) if notes else ()),
                r"\end{table}",
                "",
            ]
        )


def markdown_page(heading: str, tables: Sequence[TextTable], notes: Sequence[str]) -> str:
    """Tables below one heading, what they mean behind them."""
    said = [f"{one_line(note).translate(_MARKDOWN)}\n" for note in notes]
    return "\n".join(
        [f"## {one_line(heading).translate(_MARKDOWN)}\n", *(one.markdown() for one in tables), *said]
    )


def latex_page(tables: Sequence[TextTable], notes: Sequence[str]) -> str:
    """Tables to be read into a document that uses booktabs; what they mean stands below the first."""
    shown = [table.latex(() if number else notes) for number, table in enumerate(tables)]
    return "\n".join(["% Needs \\usepackage{booktabs}.", "", *shown])


def _latex_notes(notes: Sequence[str]) -> list[str]:
    return [
        r"  \par\medskip",
        r"  \begin{minipage}{\linewidth}",
        r"    \footnotesize",
        *(rf"    {one_line(note).translate(_LATEX)}\par" for note in notes),
        r"  \end{minipage}",
    ]


def one_line(text: str) -> str:
    """On one line, with a sign in the place of each character that cannot be shown (terminals obey some)."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split()))
