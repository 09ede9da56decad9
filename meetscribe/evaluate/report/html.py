"""Reports as one HTML file: style and plots inside, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from meetscribe.evaluate.report.plots import Plot
from meetscribe.evaluate.report.sections import Section, Table
from meetscribe.formats.tokens import clean

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
h2 { margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap; }
th.text, td.text { text-align: left; }
thead th { border-bottom: 2px solid #555; }
tbody th { font-weight: normal; }
.protocol { color: #555; font-size: .85rem; margin: .25rem 0; }
figure { margin: 1.5rem 0; }
figure svg { max-width: 100%; height: auto; }
figcaption { color: #555; }
"""

# a browser that honours it loads nothing and runs nothing, whatever a name may have smuggled in
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(
    title: str, sections: Iterable[Section], protocol: Sequence[str], plots: Mapping[str, Plot]
) -> str:
    """Write sections as a page, with the lines of the protocol under every table.

    ``plots`` by name; a section whose plots are not there is written without them.
    """
    body = [f"<h1>{_text(title)}</h1>"]
    for section in sections:
        body.append(f"<section>\n<h2>{_text(section.title)}</h2>")
        body += [f"<p>{_text(line)}</p>" for line in section.lines]
        if section.items:
            items = "\n".join(f"<li>{_text(item)}</li>" for item in section.items)
            body.append(f"<ul>\n{items}\n</ul>")
        if section.table is not None:
            body.append(_table(section.table))
            body += [f'<p class="protocol">Protocol: {_text(line)}</p>' for line in protocol]
        body += [_figure(plots[name], protocol) for name in section.plots if name in plots]
        body.append("</section>")
    inner = "\n".join(body)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{inner}\n</body>\n</html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{_class(table, n)}>{_text(cell)}</th>'
        for n, cell in enumerate(table.header)
    )
    rows = "\n".join(f"<tr>{_row(table, row)}</tr>" for row in table.rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _row(table: Table, row: Sequence[str]) -> str:
    cells = []
    for n, cell in enumerate(row):
        text = _text(cell)
        if n in table.code_columns and cell:
            text = f"<code>{text}</code>"
        tag, scope = ("th", ' scope="row"') if n == 0 else ("td", "")
        cells.append(f"<{tag}{scope}{_class(table, n)}>{text}</{tag}>")
    return "".join(cells)


def _class(table: Table, column: int) -> str:
    is_text = column < table.text_columns or column in table.code_columns
    return ' class="text"' if is_text else ""


def _figure(plot: Plot, protocol: Sequence[str]) -> str:
    lines = "".join(
        f'<br><span class="protocol">Protocol: {_text(line)}</span>' for line in protocol
    )
    return f"<figure>\n{plot.svg}\n<figcaption>{_text(plot.caption)}{lines}</figcaption>\n</figure>"


def _text(text: str) -> str:
    return escape(clean(text))
