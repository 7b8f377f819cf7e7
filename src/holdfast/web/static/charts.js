// Metrics of runs as charts: curves, ticks where checkpoints are, a line where something turned.
(() => {
  const place = document.getElementById("charts");
  if (!place) return;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const numbers = (value) => (value == null ? "–" : Number(value.toPrecision(4)).toString());
  let made = [];

  const marks = (data, panel) => (u) => {
    const { ctx } = u, { top, height, left, width } = u.bbox, ratio = devicePixelRatio;
    ctx.save();
    ctx.beginPath(); ctx.rect(left, top, width, height); ctx.clip();
    ctx.lineWidth = ratio;
    for (const mark of data.checkpoints) {
      ctx.strokeStyle = colour(mark.colour == null ? "--accent" : `--p${mark.colour}`);
      const x = Math.round(u.valToPos(mark.step, "x", true)), long = mark.tags.length ? 14 : 7;
      ctx.beginPath(); ctx.moveTo(x, top + height); ctx.lineTo(x, top + height - long * ratio); ctx.stroke();
    }
    ctx.setLineDash([4 * ratio, 4 * ratio]); ctx.strokeStyle = colour("--bad"); ctx.fillStyle = colour("--bad");
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    for (const finding of panel.findings) {
      const x = Math.round(u.valToPos(finding.since, "x", true));
      ctx.beginPath(); ctx.moveTo(x, top); ctx.lineTo(x, top + height); ctx.stroke();
      const atEnd = x > left + width * 0.7;
      ctx.textAlign = atEnd ? "right" : "left";
      ctx.fillText(`${finding.kind} since ${finding.since}`, x + (atEnd ? -6 : 6) * ratio, top + 14 * ratio);
    }
    ctx.restore();
  };

  const draw = (data, panel) => {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    figure.className = "chart";
    caption.textContent = panel.title;
    const said = document.createElement("span");
    said.className = "soft";
    const best = panel.best ? `best ${numbers(panel.best[1])} at step ${panel.best[0]} of ${panel.best_of}` : "";
    said.textContent = [best, ...panel.findings.map((f) => f.text)].filter(Boolean).join(" · ");
    caption.append(said);
    figure.append(caption);
    place.append(figure);
    if (!panel.steps.length) {
      const none = document.createElement("p");
      none.className = "empty";
      none.textContent = "No finite value yet.";
      figure.append(none);
      return { chart: { destroy() {}, setSize() {} }, figure };
    }
    // A step is whole, and its number may be long.
    const incrs = [1, 2, 5].flatMap((n) => Array.from({ length: 16 }, (_, i) => n * 10 ** i)).sort((a, b) => a - b);
    const space = Math.max(50, 9 * panel.steps.at(-1).toLocaleString().length + 20);
    const grid = { stroke: colour("--rule"), width: 1 };
    const axis = { stroke: colour("--soft"), grid, ticks: grid, font: "12px system-ui, sans-serif" };
    const chart = new uPlot({
      width: figure.clientWidth, height: 260,
      scales: { x: { time: false } },
      axes: [{ ...axis, label: "step", labelSize: 20, incrs, space }, { ...axis, size: 64, values: (u, found) => found.map(numbers) }],
      series: [
        { label: "step" },
        ...panel.series.map((series, i) => ({
          label: series.name, stroke: colour(`--p${panel.colours[i] % 8}`), width: 1.75, spanGaps: true,
          points: { show: panel.steps.length < 40 }, value: (u, found) => numbers(found),
        })),
      ],
      hooks: { draw: [marks(data, panel)] },
    }, [panel.steps, ...panel.series.map((series) => series.values)], figure);
    const canvas = figure.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Chart of ${panel.title} over steps. ${said.textContent}`);
    return { chart, figure };
  };

  const load = async () => {
    const answer = await fetch(place.dataset.curves);
    if (!answer.ok) return;
    const data = await answer.json();
    for (const { chart } of made) chart.destroy();
    place.replaceChildren();
    made = data.panels.map((panel) => draw(data, panel));
    if (!made.length) {
      const empty = document.createElement("p");
      empty.className = "empty";
      empty.textContent = "No metrics yet: give metrics= with step() or save().";
      place.append(empty);
    }
  };

  addEventListener("resize", () => { for (const { chart, figure } of made) chart.setSize({ width: figure.clientWidth, height: 260 }); });
  for (const name of ["theme", "fresh"]) document.addEventListener(name, load);
  load();
})();
