// Copying of patches, local time by choice, and the completion of the search box.
// Without this script a page has all its content.
"use strict";

function copying() {
  for (const button of document.querySelectorAll("button.copy")) {
    const block = button.closest("figure").querySelector("pre");
    button.hidden = false;
    button.addEventListener("click", async () => {
      const range = document.createRange();
      range.selectNodeContents(block);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      let copied = false;
      try {
        // Only a page of https or of this machine has a clipboard.
        await navigator.clipboard.writeText(`${block.textContent}\n`);
        copied = true;
      } catch {
        copied = document.execCommand("copy");
      }
      button.textContent = copied ? "Copied" : "Press Ctrl+C";
    });
  }
}

const two = (number) => String(number).padStart(2, "0");

function localText(unixS, form) {
  const at = new Date(unixS * 1000);
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if (form === "minute") return clock;
  if (form === "day") return at.toLocaleDateString("en-GB", { day: "2-digit", month: "short" });
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock}`;
}

function zones() {
  const button = document.getElementById("zone");
  const times = [...document.querySelectorAll("[data-at]")];
  if (!button || !times.length) return;
  for (const time of times) time.utc = time.textContent;
  const show = (isLocal) => {
    for (const time of times) {
      time.textContent = isLocal ? localText(Number(time.dataset.at), time.dataset.form) : time.utc;
    }
    for (const zone of document.querySelectorAll(".zone")) {
      zone.textContent = isLocal ? "local time" : "UTC";
    }
    button.textContent = isLocal ? "local time" : "UTC";
    button.setAttribute("aria-pressed", String(isLocal));
  };
  let isLocal = false;
  try {
    isLocal = localStorage.getItem("gotax-zone") === "local";
  } catch {
    // A browser may forbid to keep anything: the choice is then of this page alone.
  }
  button.hidden = false;
  show(isLocal);
  button.addEventListener("click", () => {
    isLocal = !isLocal;
    show(isLocal);
    try {
      localStorage.setItem("gotax-zone", isLocal ? "local" : "utc");
    } catch {
      // As above.
    }
  });
}

copying();
zones();
