// Copying of patches, local time by choice, the completion of the search box, and numbers that stay
// up to date.
// Without this script a page has all its content.
"use strict";

function copying() {
  for (const button of document.querySelectorAll("button.copy[hidden]")) {
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

let showZone = () => {};

function zones() {
  const button = document.getElementById("zone");
  if (!button || !document.querySelector("[data-at]")) return;
  const show = (isLocal) => {
    for (const time of document.querySelectorAll("[data-at]")) {
      time.dataset.utc ??= time.textContent;
      time.textContent = isLocal ? localText(Number(time.dataset.at), time.dataset.form) : time.dataset.utc;
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
  showZone = () => show(isLocal);
  showZone();
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

// A combobox (https://www.w3.org/WAI/ARIA/apg/patterns/combobox/) of the last word in the box.
function completion(box, number) {
  const list = document.createElement("ul");
  Object.assign(list, { className: "names", id: `names-${number}`, hidden: true });
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Names in the fleet");
  const around = document.createElement("span");
  around.className = "search";
  box.replaceWith(around);
  around.append(box, list);
  const set = (name, value) => box.setAttribute(name, value);
  set("role", "combobox");
  set("aria-autocomplete", "list");
  set("aria-controls", list.id);
  set("aria-expanded", "false");
  box.autocomplete = "off";
  let asked = null;
  let timer = 0;
  let chosen = -1;

  const close = () => {
    list.hidden = true;
    chosen = -1;
    set("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  };
  const choose = (index) => {
    chosen = index;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === index)));
    if (index >= 0) set("aria-activedescendant", list.children[index].id);
  };
  const take = (item) => {
    box.value = `${box.value.replace(/\S*$/, "")}${item.dataset.term} `;
    close();
    box.focus();
  };
  const show = (names) => {
    const items = names.map((name, at) => {
      const item = document.createElement("li");
      item.id = `${list.id}-${at}`;
      item.dataset.term = name.term;
      item.setAttribute("role", "option");
      const field = document.createElement("small");
      field.textContent = name.field;
      item.append(field, " ", name.value);
      item.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        take(item);
      });
      return item;
    });
    list.replaceChildren(...items);
    list.hidden = !items.length;
    set("aria-expanded", String(!list.hidden));
    choose(-1);
  };
  const ask = async () => {
    const word = /\S*$/.exec(box.value)[0].replace(/^[a-z]*!?=/, "");
    asked?.abort();
    if (!word || word.length > 64 || word.includes('"')) return close();
    asked = new AbortController();
    try {
      const answer = await fetch(`/api/v1/names?word=${encodeURIComponent(word)}`, { signal: asked.signal });
      if (answer.ok) show((await answer.json()).names);
    } catch {
      close();
    }
  };
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 200);
  });
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    const count = list.children.length;
    if (event.key === "ArrowDown") choose((chosen + 1) % count);
    else if (event.key === "ArrowUp") choose(chosen <= 0 ? count - 1 : chosen - 1);
    else if (event.key === "Enter" && chosen >= 0) take(list.children[chosen]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

// What scrolls sideways can be reached and scrolled with the keyboard, and has a name.
function scrolling() {
  for (const card of document.querySelectorAll(".card")) {
    const isWide = card.scrollWidth > card.clientWidth;
    if (isWide === card.hasAttribute("tabindex")) continue;
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", titleOf(card)]]) {
      if (isWide) card.setAttribute(name, value);
      else card.removeAttribute(name);
    }
  }
}

function titleOf(card) {
  const titles = [...document.querySelectorAll("h1, h2, h3, summary")];
  const before = titles.filter((title) =>
    title.compareDocumentPosition(card) & Node.DOCUMENT_POSITION_FOLLOWING);
  return before.at(-1)?.firstChild?.textContent.trim() || "Table";
}

// Makes `old` like `now` with as few changes as possible: what stays the same keeps focus, selection
// and scroll position. Parts with data-kept stay, and so does what this script or a person set.
const OURS = new Set(["tabindex", "role", "aria-label", "open", "checked", "data-updated"]);

function update(old, now) {
  if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName || old.id !== now.id) {
    return old.replaceWith(now);
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return undefined;
  }
  if (old.hasAttribute("data-kept") || old.isEqualNode(now)) return undefined;
  if (old.matches("figure.patch")) {
    if (old.querySelector("pre").textContent !== now.querySelector("pre").textContent) old.replaceWith(now);
    return undefined;
  }
  for (const {name} of [...old.attributes]) {
    if (!now.hasAttribute(name) && !OURS.has(name)) old.removeAttribute(name);
  }
  for (const {name, value} of now.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const next of [...now.childNodes]) {
    const same = next.id ? known.get(next.id) : at && !at.id ? at : null;
    if (same && same === at) {
      at = at.nextSibling;
      update(same, next);
    } else if (same) {
      old.insertBefore(same, at);
      update(same, next);
    } else {
      old.insertBefore(next, at);
    }
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
  return undefined;
}

function staying() {
  const button = document.getElementById("live");
  const main = document.querySelector("main[data-live]");
  if (!button || !main) return;
  let isOn = true;
  let timer = 0;
  let asked = null;
  const ask = async () => {
    asked = new AbortController();
    try {
      const url = new URL(location.href);
      url.searchParams.set("live", "1");
      url.hash = "";
      const answer = await fetch(url, {signal: asked.signal});
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      // Which rows are chosen is the reader's affair, and so is text that is being copied.
      for (const input of page.querySelectorAll("input[checked]")) input.removeAttribute("checked");
      if (!getSelection().isCollapsed && main.contains(getSelection().anchorNode)) return;
      const focused = document.activeElement;
      update(main, page.querySelector("main"));
      if (focused !== document.activeElement && focused.isConnected) focused.focus({preventScroll: true});
      copying();
      scrolling();
      showZone();
      main.dataset.updated = Number(main.dataset.updated ?? 0) + 1;
    } catch {
      // The collector does not answer: the next time it may.
    }
  };
  const plan = () => {
    clearInterval(timer);
    asked?.abort();
    if (isOn && !document.hidden) timer = setInterval(ask, Number(main.dataset.live) * 1000);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    isOn = !isOn;
    button.textContent = isOn ? "live" : "paused";
    button.setAttribute("aria-pressed", String(isOn));
    plan();
  });
  document.addEventListener("visibilitychange", () => {
    plan();
    if (isOn && !document.hidden) ask();
  });
  plan();
}

copying();
zones();
scrolling();
staying();
addEventListener("resize", scrolling);
document.addEventListener("toggle", scrolling, true);
document.querySelectorAll("header input[type=text]").forEach(completion);
