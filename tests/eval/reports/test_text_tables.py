from rich.console import Console

from ragkit.eval.reports.text_tables import TextTable, latex_page, markdown_page, one_line

HOSTILE = TextTable(
    "100% of [red]a_b[/red]",
    ("system", "nDCG@10"),
    (("a|b\n<script>", "−0.5"), ("$x^2$ \\input{x} & #1 ~", "0.25")),
)


def test_markdown_is_escaped():
    assert HOSTILE.markdown() == (
        "### 100% of \\[red\\]a\\_b\\[/red\\]\n\n"
        "| system | nDCG@10 |\n"
        "| :-- | --: |\n"
        "| a\\|b \\<script\\> | −0.5 |\n"
        "| \\$x^2\\$ \\\\input\\{x\\} &amp; \\#1 \\~ | 0.25 |\n"
    )


def test_latex_is_escaped_and_of_booktabs():
    assert HOSTILE.latex() == (
        "\\begin{table}\n"
        "  \\centering\n"
        "  \\caption{100\\% of {[}red{]}a\\_b{[}/red{]}}\n"
        "  \\begin{tabular}{lr}\n"
        "    \\toprule\n"
        "    system & nDCG@10 \\\\\n"
        "    \\midrule\n"
        "    a\\textbar{}b \\textless{}script\\textgreater{} & $-$0.5 \\\\\n"
        "    \\$x\\textasciicircum{}2\\$ \\textbackslash{}input\\{x\\} \\& \\#1 \\textasciitilde{} & 0.25 \\\\\n"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table}\n"
    )


def test_a_terminal_shows_marks_and_obeys_none():
    console = Console(width=80, record=True, file=None, force_terminal=False)
    with console.capture() as shown:
        console.print(HOSTILE.rich())
        console.print(TextTable("t", ("a",), (("\x1b[31mred\x07",),)).rich())
    assert "[red]a_b[/red]" in shown.get()
    assert "\ufffd[31mred\ufffd" in shown.get()
    assert "\x1b" not in shown.get()


def test_pages_say_what_the_tables_mean():
    small = TextTable("t", ("a", "b"), (("x", "1"),))
    assert markdown_page("All", [small], ["Note *one*."]) == (
        "## All\n\n### t\n\n| a | b |\n| :-- | --: |\n| x | 1 |\n\nNote \\*one\\*.\n"
    )
    page = latex_page([small, small], ["A note\n\\end{document}"])
    first, second = page.split("\\end{table}\n")[:2]
    assert first.startswith("% Needs \\usepackage{booktabs}.\n\n\\begin{table}\n")
    assert first.endswith(
        "  \\end{tabular}\n  \\par\\medskip\n  \\begin{minipage}{\\linewidth}\n    \\footnotesize\n"
        "    A note \\textbackslash{}end\\{document\\}\\par\n  \\end{minipage}\n"
    )
    assert "note" not in second


def test_text_becomes_one_line():
    assert one_line(" a\n\tb\x00c\u202ed ") == "a b\ufffdc\ufffdd"
