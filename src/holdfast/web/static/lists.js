// Long lists as one: only the rows near what is seen are in the page; others come when they are near.
// Without this script the same rows come in pages of their own.
(() => {
  const chosenOf = {}; // By list and name, what somebody chose: it outlives a list that comes anew.
  const KEPT = 8; // Pages of rows on either side that are not asked for again.

  const virtual = (region) => {
    const body = region.querySelector("tbody"), head = region.querySelector("thead"), form = region.closest("form");
    const columns = head.rows[0].cells.length, name = region.dataset.list, size = Number(region.dataset.size);
    const pager = document.querySelector(`.pager[data-of="${name}"]`), where = pager.querySelector("span");
    let total = Number(region.dataset.total), count = Math.ceil(total / size), shown = "";
    const first = Number(region.dataset.page), rows = new Map([[first, [...body.rows]]]), heights = new Map(), asked = new Set();
    const chosen = (chosenOf[name] ??= {}), atFirst = {};
    for (const input of body.querySelectorAll("input[type=radio]:checked")) atFirst[input.name] = new Set([input.value]);
    for (const input of body.querySelectorAll("input[type=checkbox]:checked")) (chosen[input.name] ??= new Set()).add(input.value);
    const isChosen = (input) => ((chosen[input.name] ?? atFirst[input.name])?.has(input.value)) ?? false;

    region.classList.add("virtual");
    for (const anchor of pager.querySelectorAll("a")) anchor.remove();
    const usual = () => {
      let sum = 0, n = 0;
      for (const [page, height] of heights) { sum += height; n += rowsOf(page); }
      return n ? sum / n : 34;
    };
    const rowsOf = (page) => Math.min(size, total - (page - 1) * size);
    const heightOf = (page) => heights.get(page) ?? usual() * rowsOf(page);
    const pageAt = (y) => {
      let page = 1;
      for (let end = heightOf(1); page < count && end <= y; end += heightOf(page)) page += 1;
      return page;
    };
    const gap = (height) => {
      const row = document.createElement("tr"), cell = document.createElement("td");
      row.className = "gap"; row.setAttribute("aria-hidden", "true");
      cell.colSpan = columns; cell.style.height = `${height}px`;
      row.append(cell);
      return row;
    };

    const ask = async (page) => {
      if (asked.has(page)) return;
      asked.add(page);
      region.setAttribute("aria-busy", "true");
      try {
        const address = new URL(region.dataset.pages, location.href);
        address.searchParams.set("page", page);
        const answer = await fetch(address);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(`[data-list="${name}"]`);
        if (!answer.ok || !fresh || !region.isConnected) return;
        const now = Number(fresh.dataset.total);
        // The list has grown or shrunk meanwhile: where a row was, another one is.
        if (now !== total) { total = now; count = Math.ceil(total / size); rows.clear(); }
        if (page <= count) rows.set(page, [...fresh.querySelector("tbody").rows]);
        shown = "";
        render();
      } finally {
        asked.delete(page);
        if (!asked.size) region.removeAttribute("aria-busy");
      }
    };

    const topRow = () => {
      const top = region.getBoundingClientRect().top + head.offsetHeight;
      return [...body.rows].find((row) => !row.classList.contains("gap") && row.getBoundingClientRect().bottom > top);
    };

    const tell = () => {
      const row = topRow(), begin = row ? Number(row.ariaRowIndex) - 1 : 1;
      const inSight = [...body.rows].filter((r) => !r.classList.contains("gap") && r.getBoundingClientRect().top < region.getBoundingClientRect().bottom);
      const end = inSight.length ? Number(inSight.at(-1).ariaRowIndex) - 1 : begin;
      where.textContent = `${begin.toLocaleString("en")}–${Math.max(begin, end).toLocaleString("en")} of ${total.toLocaleString("en")} ${name}`;
    };

    const render = () => {
      const view = region.clientHeight, from = pageAt(region.scrollTop - view), to = pageAt(region.scrollTop + 2 * view);
      for (const page of rows.keys()) if (page < from - KEPT || page > to + KEPT) rows.delete(page);
      const key = `${from} ${to}`;
      if (key === shown) { tell(); return; }
      shown = key;
      const anchor = topRow(), before = anchor?.getBoundingClientRect().top, parts = [];
      let above = 0, below = 0;
      for (let page = 1; page < from; page += 1) above += heightOf(page);
      for (let page = to + 1; page <= count; page += 1) below += heightOf(page);
      if (above) parts.push(gap(above));
      for (let page = from; page <= to; page += 1) {
        const found = rows.get(page);
        if (!found) { parts.push(gap(heightOf(page))); ask(page); continue; }
        found.forEach((row, i) => {
          row.ariaRowIndex = String((page - 1) * size + i + 2);
          for (const input of row.querySelectorAll("input")) input.checked = isChosen(input);
        });
        parts.push(...found);
      }
      if (below) parts.push(gap(below));
      body.replaceChildren(...parts);
      for (let page = from; page <= to; page += 1) {
        const found = rows.get(page);
        if (found?.length) heights.set(page, found.at(-1).getBoundingClientRect().bottom - found[0].getBoundingClientRect().top);
      }
      // Columns that narrowed and widened while one scrolls would be hard to read.
      for (const cell of head.rows[0].cells) cell.style.minWidth = `${Math.ceil(cell.getBoundingClientRect().width)}px`;
      // What is looked at stays where it is, though rows above have come to be higher than was thought.
      if (anchor?.isConnected) region.scrollTop += anchor.getBoundingClientRect().top - before;
      tell();
    };

    region.querySelector("table").setAttribute("aria-rowcount", String(total + 1));
    region.addEventListener("change", ({ target }) => {
      if (target.type === "radio") chosen[target.name] = new Set([target.value]);
      else if (target.checked) (chosen[target.name] ??= new Set()).add(target.value);
      else chosen[target.name]?.delete(target.value);
    });
    form?.addEventListener("submit", () => {
      const there = [...form.querySelectorAll("input:checked")];
      for (const [key, values] of Object.entries({ ...atFirst, ...chosen })) {
        for (const value of values) {
          if (there.some((input) => input.name === key && input.value === value)) continue;
          const input = document.createElement("input");
          input.type = "hidden"; input.name = key; input.value = value; input.className = "chosen";
          form.append(input);
        }
      }
    });
    region.addEventListener("scroll", () => requestAnimationFrame(render), { passive: true });
    addEventListener("resize", () => { if (region.isConnected) { shown = ""; render(); } });
    heights.set(first, body.getBoundingClientRect().height);
    if (first > 1) {
      // The address names a page: the list begins there.
      let above = 0;
      for (let page = 1; page < first; page += 1) above += heightOf(page);
      body.prepend(gap(above));
      region.scrollTop = above;
    }
    render();
  };

  const begin = () => {
    for (const region of document.querySelectorAll("[data-pages]:not(.virtual)")) {
      if (Number(region.dataset.total) > Number(region.dataset.size)) virtual(region);
    }
  };
  // Back from another page, a form has what was added to it.
  addEventListener("pageshow", () => { for (const input of document.querySelectorAll("input.chosen")) input.remove(); });
  document.addEventListener("fresh", begin);
  begin();
})();
