// Asks every few seconds whether anything is new, and if so puts the new parts into the page. A page
// without such parts takes long to make: it says that there is something newer, and is left alone.
(() => {
  const pulse = document.currentScript.dataset.pulse, every = 3000;
  const said = document.getElementById("live");
  let known = null, missed = false, over = false;
  const newer = () => {
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = "there is something newer: show it";
    said.replaceChildren(link);
  };
  // Says whether to go on asking.
  const refresh = async () => {
    if (!document.querySelector("[data-live]")) { newer(); return false; }
    const answer = await fetch(location.href);
    if (answer.status === 404) { said.textContent = "no longer there"; return false; }
    if (!answer.ok) return true;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    // A name that moves, such as latest, is of another checkpoint now.
    if (fresh.title !== document.title && !fresh.getElementById("working")) { location.reload(); return false; }
    // It is being looked at anew: the next time it may be there.
    missed = fresh.getElementById("working") !== null;
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      // What somebody is filling in stays as it is.
      if (!other || part.contains(document.activeElement) || other.innerHTML === part.innerHTML) continue;
      // So does a list that somebody has gone down into, until they come up again.
      if (part.querySelector(".virtual")?.scrollTop > 0) { missed = true; continue; }
      // What somebody chose stays chosen; what was chosen for them may be another one now.
      const chosen = [...part.querySelectorAll("input:checked")].filter((input) => !input.defaultChecked);
      part.innerHTML = other.innerHTML;
      for (const input of part.querySelectorAll("input")) {
        if (chosen.some((was) => was.name === input.name && was.value === input.value)) input.checked = true;
      }
      part.classList.remove("changed"); void part.offsetWidth; part.classList.add("changed");
    }
    document.dispatchEvent(new Event("fresh"));
    return true;
  };
  const ask = async () => {
    try {
      const found = (await (await fetch(pulse)).json()).pulse;
      if (known !== null && (missed || found !== known)) over = !(await refresh());
      known = found;
      if (!over) said.textContent = "live";
    } catch {
      said.textContent = "not connected";
    }
  };
  const round = async () => { if (!document.hidden) await ask(); if (!over) setTimeout(round, every); };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !over) ask(); });
  round();
})();
