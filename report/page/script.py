"""The scripts of a report. The table first: it works before figures are drawn, and these are as they come into sight."""

from typing import Final

# Before anything is shown: what only scripts can do appears where they can do it.
FIRST_SCRIPT: Final = "if ('DecompressionStream' in window) document.documentElement.className = 'js';"

UNPACK_SCRIPT: Final = """
const unpack = async name => {
  const text = atob(document.getElementById(name).textContent), bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip')));
};
"""

# Only rows that are shown are elements: 5,000 rows would be 100,000 cells.
TABLE_SCRIPT: Final = """
const tabulate = ({ rows, best, why }) => {
  const page = 200, words = new Map(), heads = [...document.querySelectorAll('#trials th')];
  const [body, find, state, more, count] = ['rows', 'find', 'state', 'more', 'count'].map(id => document.getElementById(id));
  let matched = rows, shown = page;
  const element = cells => {
    const row = document.createElement('tr');
    row.className = cells[1] + (cells[0] === best ? ' best' : '');
    cells.forEach((text, column) => {
      const cell = row.insertCell();
      cell.textContent = text;
      if (column === why) cell.className = 'why';
    });
    return row;
  };
  const show = () => {
    body.replaceChildren(...matched.slice(0, shown).map(element));
    const some = Math.min(shown, matched.length);
    count.textContent = some + ' of ' + matched.length + (matched.length < rows.length ? ' that match' : '') + ' trials';
    more.hidden = shown >= matched.length;
  };
  const lower = row => { if (!words.has(row)) words.set(row, row.join('\\n').toLowerCase()); return words.get(row); };
  const filter = () => {
    const wanted = find.value.toLowerCase().split(/\\s+/).filter(Boolean);
    matched = rows.filter(row => (!state.value || row[1] === state.value) && wanted.every(word => lower(row).includes(word)));
    shown = page;
    show();
  };
  const compare = (x, y) => {
    const p = Number(x), q = Number(y), one = Number.isNaN(p), other = Number.isNaN(q);
    return one !== other ? one - other : one ? (x < y ? -1 : x > y ? 1 : 0) : p - q;
  };
  const sort = (head, column) => {
    const sign = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
    heads.forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', sign > 0 ? 'ascending' : 'descending');
    rows.sort(({ [column]: x }, { [column]: y }) => !x || !y ? (x ? 0 : 1) - (y ? 0 : 1) : sign * compare(x, y));
    filter();
  };
  heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => sort(head, column)));
  find.addEventListener('input', filter);
  state.addEventListener('change', filter);
  more.addEventListener('click', () => { shown += 5 * page; show(); });
  filter();
};
"""

FIGURES_SCRIPT: Final = """
const themed = layout => {
  const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour('--line'), zerolinecolor: colour('--line'), linecolor: colour('--line'), automargin: true,
    exponentformat: 'power' };
  return { ...layout, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: { color: colour('--ink'), family: 'system-ui, sans-serif', size: 12 },
    dragmode: matchMedia('(pointer: coarse)').matches ? false : 'zoom',
    hoverlabel: { bgcolor: colour('--card'), font: { color: colour('--ink') } },
    xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis } };
};
const illustrate = figures => {
  const drawn = new Set();
  let library;
  const load = async () => {
    const whole = await (await unpack('plotly')).blob(), script = document.createElement('script');
    script.src = URL.createObjectURL(whole);
    document.head.append(script);
    await new Promise(done => script.addEventListener('load', done));
  };
  const draw = async name => {
    await (library ??= load());
    const { data, layout } = figures[name];
    drawn.add(name);
    const place = document.getElementById(name), entries = data.filter(trace => trace.showlegend !== false).length;
    if (layout.showlegend && place.clientWidth < 600) place.style.height = 260 + 20 * entries + 'px';  // one below another
    return Plotly.react(name, data, themed(layout), { responsive: true, displaylogo: false, displayModeBar: false });
  };
  const sight = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => {
    sight.unobserve(entry.target);
    draw(entry.target.id);
  }), { rootMargin: '200px' });
  Object.keys(figures).forEach(name => sight.observe(document.getElementById(name)));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => drawn.forEach(draw));
};
"""

START_SCRIPT: Final = """
if (document.documentElement.className === 'js') {
  if (document.getElementById('rows')) unpack('cells').then(all => all.json()).then(tabulate);
  unpack('figures').then(all => all.json()).then(illustrate);
}
"""

SCRIPT: Final = f"(() => {{{UNPACK_SCRIPT}{TABLE_SCRIPT}{FIGURES_SCRIPT}{START_SCRIPT}}})();"
