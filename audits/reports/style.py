"""How a page looks: on paper (A4, with page numbers) and on a screen, in colour and without."""

import re

WOOD = "#8c2f1b"
SANS = (
    '"Noto Sans","Segoe UI","Helvetica Neue","Liberation Sans",Arial,"DejaVu Sans Condensed","DejaVu Sans",sans-serif'
)
SERIF = '"Noto Serif","Source Serif 4",Cambria,"Liberation Serif","DejaVu Serif Condensed","DejaVu Serif",serif'
MONO = '"Noto Sans Mono",Consolas,"Liberation Mono","DejaVu Sans Mono",monospace'


def quoted(words: str) -> str:
    """Return words as a CSS string in which no letter has a meaning."""
    return '"' + "".join(one if one.isalnum() else f"\\{ord(one):x} " for one in words) + '"'


def sheet(left: str, right: str, number: str) -> str:
    """Return the style sheet; ``left`` and ``right`` head every printed page, ``number`` numbers it.

    In ``number``, ``{page}`` and ``{pages}`` stand for the number of the page and for how many there are.
    """
    parts = re.split(r"(\{page\}|\{pages\})", number)
    number = " ".join(
        {"{page}": "counter(page)", "{pages}": "counter(pages)"}.get(part) or quoted(part) for part in parts
    )
    return f"""
@page {{ size: A4; margin: 20mm 17mm 18mm;
  @top-left {{ content: {quoted(left)}; font: 7.5pt {SANS}; color: #5b6570; }}
  @top-right {{ content: {quoted(right)}; font: 7.5pt {SANS}; color: #5b6570; }}
  @bottom-right {{ content: {number}; font: 7.5pt {SANS}; color: #5b6570; }} }}
@page :first {{ margin-top: 15mm; @top-left {{ content: none; }} @top-right {{ content: none; }} }}
{RULES}"""


RULES = f"""
* {{ box-sizing: border-box; }}
html {{ font: 9pt/1.42 {SANS}; color: #20262e; background: #fff; -webkit-print-color-adjust: exact;
  print-color-adjust: exact; }}
body {{ margin: 0; font-variant-numeric: tabular-nums; }}
h1, h2, h3, .verdict p, .figure b {{ font-family: {SERIF}; font-weight: 600; }}
h1 {{ font-size: 23pt; line-height: 1.15; margin: 0 0 3mm; letter-spacing: -0.01em; }}
h2 {{ font-size: 13pt; margin: 6.5mm 0 2.2mm; padding-bottom: 1mm; border-bottom: 0.6pt solid #20262e;
  break-after: avoid; }}
h2 .no {{ color: {WOOD}; margin-right: 2mm; }}
h3 {{ font-size: 10pt; margin: 4.5mm 0 1.2mm; break-after: avoid; }}
p {{ margin: 0 0 2mm; max-width: 165mm; }}
.soft, .note {{ color: #5b6570; }}
.note {{ font-size: 8pt; line-height: 1.4; break-inside: avoid; break-before: avoid; }}
.brand {{ display: flex; justify-content: space-between; font-size: 8pt; letter-spacing: 0.06em;
  text-transform: uppercase;
  color: {WOOD}; border-top: 2.2pt solid {WOOD}; padding-top: 1.6mm; margin-bottom: 6mm; }}
dl.title {{ display: grid; grid-template-columns: 1.35fr 1fr; gap: 0 8mm; margin: 0 0 5mm; }}
dl.title div {{ display: flex; border-bottom: 0.4pt solid #c9cdd2; padding: 1mm 0; }}
dl.title dt {{ color: #5b6570; flex: 0 0 21mm; }}
dl.title dd {{ margin: 0; flex: 1; min-width: 0; overflow-wrap: anywhere; }}
.verdict {{ display: table; width: 100%; border: 0.6pt solid #20262e; border-left: 4pt solid #20262e; margin: 0 0 4mm;
  padding: 3.2mm 4mm; break-inside: avoid; }}
  break-inside: avoid; }}
.verdict .sign {{ display: table-cell; width: 9mm; vertical-align: middle; }}
.verdict svg {{ display: block; width: 9mm; height: 9mm; }}
.verdict p {{ display: table-cell; padding-left: 4.5mm; vertical-align: middle; font-size: 12.5pt; line-height: 1.3;
  max-width: none; }}
.verdict .next {{ display: block; margin-top: 1mm; font: 8.5pt {SANS}; }}
.verdict .word {{ display: block; margin-bottom: 0.6mm; font: 600 7.5pt {SANS}; letter-spacing: 0.08em;
  text-transform: uppercase; }}
.verdict.good {{ border-left-color: #3f5f4c; }} .verdict.good .word {{ color: #3f5f4c; }}
.verdict.attention {{ border-left-color: #a9781b; }} .verdict.attention .word {{ color: #7d5812; }}
.verdict.bad {{ border-left-color: {WOOD}; background: #fbf3f0; }} .verdict.bad .word {{ color: {WOOD}; }}
.figures {{ display: flex; margin: 0 0 3mm; border-bottom: 0.4pt solid #c9cdd2; break-inside: avoid; }}
.figure {{ flex: 1 1 0; padding: 1mm 3mm 2mm; border-left: 0.4pt solid #c9cdd2; }}
.figure:first-child {{ border-left: 0; padding-left: 0; }}
.figure b {{ display: block; font-size: 14pt; line-height: 1.2; white-space: nowrap; }}
.figure span {{ font-size: 7.5pt; color: #5b6570; display: block; line-height: 1.3; }}
table {{ border-collapse: collapse; width: 100%; margin: 0 0 3mm; font-size: 8.3pt; line-height: 1.35; }}
thead {{ display: table-header-group; }}
tr, table.together, div.together, #s8 {{ break-inside: avoid; }}
.w {{ white-space: nowrap; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.9mm 1.6mm; border-bottom: 0.4pt solid #dcdfe2;
  font-weight: normal;
  overflow-wrap: anywhere; }}
th:first-child, td:first-child {{ padding-left: 0; }}
th:last-child, td:last-child {{ padding-right: 0; }}
thead th {{ font-size: 7.3pt; color: #5b6570; vertical-align: bottom; border-bottom: 0.6pt solid #20262e;
  line-height: 1.25;
  overflow-wrap: normal; }}
.n {{ text-align: right; white-space: nowrap; }}
thead .n {{ white-space: normal; }}
tr.sum td, tr.sum th {{ border-top: 0.6pt solid #20262e; font-weight: 600; }}
bdi {{ unicode-bidi: isolate; }}
code, pre {{ font-family: {MONO}; font-size: 0.92em; }}
code {{ overflow-wrap: anywhere; }}
pre {{ margin: 0 0 2mm; padding: 2.4mm 3mm; border: 0.5pt solid #c9cdd2; background: #f7f6f3; font-size: 7.8pt;
  line-height: 1.5;
  white-space: pre-wrap; overflow-wrap: anywhere; break-inside: avoid; }}
.fingerprint {{ font: 600 12.5pt {MONO}; letter-spacing: 0.03em; margin: 0 0 2mm; }}
svg.chart {{ display: block; width: 100%; height: auto; margin: 0 0 1.5mm; break-inside: avoid; }}
.legend {{ font-size: 7.5pt; color: #20262e; margin: 0 0 2.5mm; break-after: avoid; }}
.legend span {{ white-space: nowrap; margin-right: 3.4mm; }}
.swatch {{ width: 3.6mm; height: 3mm; vertical-align: -0.4mm; margin-right: 1.2mm; }}
.empty {{ color: #5b6570; font-style: italic; }}
.matters {{ margin: 0 0 4mm; }}
.matters th {{ width: 62%; }}
table.levels {{ table-layout: fixed; font-size: 7.5pt; line-height: 1.3; }}
table.levels th:first-child {{ width: 17%; }}
table.levels td, table.levels tbody th {{ border-left: 0.4pt solid #dcdfe2; padding: 1.2mm 1.5mm; }}
table.levels tbody th {{ border-left: 0; font-weight: 600; padding-left: 0; }}
table.levels td.reached {{ background: #e6ede7; }}
table.levels ul {{ list-style: none; margin: 0; padding: 0; }}
table.levels li {{ display: flex; margin: 0 0 0.7mm; }}
.mark {{ flex: 0 0 3.4mm; width: 3.4mm; height: 2.6mm; margin-top: 0.35mm; }}
.level {{ display: block; font-weight: normal; color: #5b6570; font-size: 7.2pt; }}
footer {{ margin-top: 8mm; padding-top: 2mm; border-top: 0.6pt solid #20262e; font-size: 7.8pt; color: #5b6570;
  break-inside: avoid; }}
@media screen {{
  html {{ background: #eceae5; font-size: 10.5pt; }}
  main {{ background: #fff; max-width: 205mm; margin: 8mm auto; padding: 14mm 16mm;
  box-shadow: 0 1px 8px rgba(0,0,0,.14); }}
}}
@media screen and (max-width: 720px) {{
  main {{ margin: 0; padding: 6mm 5mm; }}
  dl.title {{ display: block; }} .figures {{ flex-wrap: wrap; }} .figure {{ flex-basis: 33%; }}
  section {{ overflow-x: auto; }}
}}
"""
