// A flame graph that can be zoomed and searched. Everything is drawn already: this only moves it.
"use strict";
for (const drawing of document.querySelectorAll("svg.flame")) {
  const frames = [...drawing.querySelectorAll(".frame")].map((element) => ({
    element,
    left: parseFloat(element.getAttribute("x")) / 100,
    width: parseFloat(element.getAttribute("width")) / 100,
    row: Math.round(parseFloat(element.getAttribute("y")) / 19),
    title: element.querySelector("title").textContent,
  }));
  const part = drawing.closest("section") ?? document;
  const detail = part.querySelector("#detail");
  const search = part.querySelector("#search");
  const epsilon = 1e-6;

  const zoom = (to) => {
    for (const frame of frames) {
      const end = frame.left + frame.width;
      const within = frame.left >= to.left - epsilon && end <= to.left + to.width + epsilon;
      const above = frame.row < to.row && frame.left <= to.left + epsilon &&
        end >= to.left + to.width - epsilon;
      const shown = above || (within && frame.row >= to.row);
      frame.element.classList.toggle("hidden", !shown);
      frame.element.classList.toggle("above", above);
      if (shown) {
        const left = above ? 0 : (frame.left - to.left) / to.width;
        const width = above ? 1 : frame.width / to.width;
        frame.element.setAttribute("x", `${left * 100}%`);
        frame.element.setAttribute("width", `${width * 100}%`);
      }
    }
  };

  for (const frame of frames) {
    frame.element.addEventListener("click", () => zoom(frame));
    frame.element.addEventListener("mouseenter", () => { detail.textContent = frame.title; });
  }
  search?.addEventListener("input", () => {
    const text = search.value.toLowerCase();
    for (const frame of frames) {
      const name = frame.title.split("\n")[0].toLowerCase();
      frame.element.classList.toggle("found", text !== "" && name.includes(text));
    }
  });
  search?.form?.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && frames.length) { zoom(frames[0]); }
  });
}
