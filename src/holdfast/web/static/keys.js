// Keys: "/" goes to the filter, "g r" and "g s" to pages, "t" to the next theme.
(() => {
  const places = { r: "/", s: "/storage" };
  let afterG = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    const wasAfterG = afterG;
    afterG = event.key === "g";
    if (wasAfterG && places[event.key]) { location.href = places[event.key]; return; }
    if (event.key === "t") window.nextTheme();
    const filter = document.getElementById("filter");
    if (event.key === "/" && filter) { event.preventDefault(); filter.focus(); filter.select(); }
  });
})();
