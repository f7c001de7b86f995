"""The page's style sheet: words and colors as on the pages of the converter."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --muted: #57606a; --grid: #d8dee4; --paper: #ffffff;
  --shade: #eef1f4; --link: #0060a8; --good: #0b6b3a; --bad: #a8201a; --warn: #7a5200; --none: #57606a; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6eaef; --muted: #9aa4af; --grid: #363d46;
  --paper: #14181d; --shade: #20262d; --link: #6cb6ff; --good: #5bd08a; --bad: #ff8a80; --warn: #f0c04e;
  --none: #9aa4af; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3rem 0 .5rem; padding-top: .9rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .3rem; overflow-wrap: anywhere; }
p { margin: .6rem 0; overflow-wrap: anywhere; }
a { color: var(--link); }
code { font: .86em ui-monospace, "DejaVu Sans Mono", Menlo, monospace; overflow-wrap: anywhere; }
.kind { margin: 0 0 .3rem; color: var(--muted); font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; }
.subtitle, .lead, footer { color: var(--muted); }
.subtitle { margin: .4rem 0 0; }
nav { margin: 1.5rem 0 0; font-size: .9rem; }
nav ol { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; }
.mark { --tone: var(--none); color: var(--tone); font-weight: 600; white-space: nowrap; }
.good { --tone: var(--good); } .bad { --tone: var(--bad); } .warn { --tone: var(--warn); }
.none { --tone: var(--none); }
.out { --tone: var(--link); }
.verdict { margin-top: 1.25rem; padding: .8rem 1rem; border: 1px solid var(--tone); border-left-width: .45rem;
  border-radius: .25rem; }
.verdict p { margin: 0; font-size: 1.1rem; font-weight: 600; }
.verdict .more { font-size: .92rem; font-weight: 400; color: var(--muted); }
.note, .missing { padding: .5rem .8rem; border-left: .25rem solid var(--none); background: var(--shade);
  font-size: .92rem; }
.missing { border-left-style: dashed; color: var(--muted); }
dl { margin: .6rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
.facts > div { display: grid; grid-template-columns: 13.5rem 1fr; gap: 1rem; padding: .25rem 0;
  border-bottom: 1px solid var(--grid); break-inside: avoid; font-size: .92rem; }
.facts dt { color: var(--muted); overflow-wrap: anywhere; }
.below { display: block; color: var(--muted); font-size: .94em; overflow-wrap: anywhere; }
figure { margin: 1rem 0; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .8rem 0; font-size: .86rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--grid); vertical-align: top; text-align: left;
  font-weight: 400; overflow-wrap: break-word; }
th:last-child, td:last-child { padding-right: 0; }
thead th { border-bottom: 1px solid var(--ink); color: var(--muted); font-weight: 600; vertical-align: bottom; }
tr { break-inside: avoid; }
.controls table { table-layout: fixed; }
.controls th:nth-child(1) { width: 23%; } .controls th:nth-child(2) { width: 15%; }
.controls th:nth-child(3) { width: 24%; } .controls th:nth-child(4) { width: 12%; }
footer { margin-top: 3rem; font-size: .85rem; }
@media (max-width: 40rem) { .facts > div { grid-template-columns: 1fr; gap: 0; } table { min-width: 40rem; } }
@media print {
  @page { size: A4; margin: 14mm 13mm; }
  body { font-size: 9.5pt; }
  main { max-width: none; padding: 0; }
  h2 { break-after: avoid; margin-top: 1.6rem; } h3 { break-after: avoid; }
  .scroll { overflow: visible; } table { font-size: 7.6pt; } .wide table { font-size: 7.2pt; }
  thead { display: table-header-group; }
  .card { break-inside: avoid; } .note, .missing { font-size: 8.4pt; padding: .25rem .6rem; }
  .verdict { break-inside: avoid; } footer { margin-top: 1rem; }
  .facts > div { grid-template-columns: 10rem 1fr; font-size: 8.4pt; padding: .12rem 0; }
  nav { display: none; }
  a { color: inherit; text-decoration: none; }
  th, td { padding-right: .5rem; }
}
"""
