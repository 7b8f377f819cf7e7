// Light, dark, or as the system says; settled before the first paint.
(() => {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const order = ["auto", "light", "dark"];
  const chosen = () => { try { return localStorage.getItem("theme") || "auto"; } catch { return "auto"; } };
  const show = () => {
    const wanted = chosen();
    root.dataset.theme = wanted === "auto" ? (dark.matches ? "dark" : "light") : wanted;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${wanted}`;
    document.dispatchEvent(new Event("theme"));
  };
  const next = () => {
    try { localStorage.setItem("theme", order[(order.indexOf(chosen()) + 1) % order.length]); } catch { /* private mode */ }
    show();
  };
  show();
  dark.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", next);
    show();
  });
  window.nextTheme = next;
})();
