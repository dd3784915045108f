"""The style of a report: written into the page, so that it is one file."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --back: #fff; --card: #f5f7f9; --ink: #1c2329; --soft: #5b6771; --line: #d9dfe4; --hue: #1f6fc0; --bad: #b3352c; }
@media (prefers-color-scheme: dark) {
  :root { --back: #12161a; --card: #1b2127; --ink: #e4e9ee; --soft: #9ba8b3; --line: #333d46; --hue: #6cb0f5; --bad: #f08a80; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; overflow-wrap: anywhere; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
p { margin: .3rem 0 .7rem; max-width: 48rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .6rem; margin: 1rem 0; padding: 0; }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .5rem .7rem; }
.cards dt { color: var(--soft); font-size: .8rem; }
.cards dd { margin: 0; font-size: 1rem; font-weight: 600; }
figure { margin: 0; min-width: 0; }
.plot { display: none; height: 340px; width: 100%; }
.js .plot { display: block; }
.slices { display: grid; grid-auto-flow: dense; align-items: start; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: .8rem; }
.slices .plot { height: 260px; }
.slices .tall { grid-row: span 2; }
.bar { display: grid; grid-template-columns: minmax(6rem, 12rem) 1fr 3.5rem; gap: .6rem; align-items: center; max-width: 44rem; }
.bar i { display: block; height: .8rem; background: var(--hue); border-radius: 3px; min-width: 2px; }
.wide { overflow: auto; border: 1px solid var(--line); border-radius: 8px; max-height: 80vh; margin: .6rem 0; width: fit-content; max-width: 100%; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
td { max-width: 14rem; }
th { position: sticky; top: 0; background: var(--card); white-space: nowrap; z-index: 1; max-width: 14rem; overflow: hidden; text-overflow: ellipsis; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--hue); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td.why { min-width: 26rem; max-width: 34rem; }
tr.FAIL td:nth-child(2) { color: var(--bad); }
tr.best td { background: color-mix(in srgb, var(--hue) 14%, transparent); }
.tools { display: none; gap: .6rem; flex-wrap: wrap; align-items: center; margin: .5rem 0; }
.js .tools { display: flex; }
.js .nojs { display: none; }
.tools input, .tools select, .tools button { font: inherit; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; padding: .3rem .6rem; max-width: 100%; }
.tools input { flex: 1 1 14rem; }
@media (max-width: 40rem) { body { padding: .6rem; } .plot { height: 280px; } td.why { min-width: 20rem; } }
"""
