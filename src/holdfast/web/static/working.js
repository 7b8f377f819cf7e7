// Looks how far the work is, and shows what came of it once it is done.
(() => {
  const place = document.getElementById("working"), every = 700;
  const look = async () => {
    try {
      const answer = await fetch(location.href);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("working");
      if (!fresh) { location.reload(); return; }
      place.replaceChildren(...fresh.childNodes);
    } catch { /* The server may come back. */ }
    setTimeout(look, every);
  };
  setTimeout(look, every);
})();
