// Asks every few seconds whether anything is new, and if so puts the new parts into the page.
(() => {
  const pulse = document.currentScript.dataset.pulse, every = 3000;
  const said = document.getElementById("live");
  let known = null, missed = false;
  const refresh = async () => {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    // It is being looked at anew: the next time it may be there.
    missed = fresh.getElementById("working") !== null;
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      // What somebody is filling in stays as it is.
      if (!other || part.contains(document.activeElement) || other.innerHTML === part.innerHTML) continue;
      // So does a list that somebody has gone down into, until they come up again.
      if (part.querySelector(".virtual")?.scrollTop > 0) { missed = true; continue; }
      part.innerHTML = other.innerHTML;
      part.classList.remove("changed"); void part.offsetWidth; part.classList.add("changed");
    }
    document.dispatchEvent(new Event("fresh"));
  };
  const ask = async () => {
    try {
      const found = (await (await fetch(pulse)).json()).pulse;
      if (known !== null && (missed || found !== known)) await refresh();
      known = found;
      said.textContent = "live";
    } catch {
      said.textContent = "not connected";
    }
  };
  const round = async () => { if (!document.hidden) await ask(); setTimeout(round, every); };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  round();
})();
