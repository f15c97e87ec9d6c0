// Citations as cards under an answer, and the page of one in a dialog.

import { ApiError, pageAddress, request } from "./api.js";

const viewer = document.getElementById("viewer");
const page = document.getElementById("viewer-page");
const back = document.getElementById("viewer-back");
const on = document.getElementById("viewer-on");
const near = document.getElementById("viewer-near");
const close = document.getElementById("viewer-close");
// Of the dialog: the citations of one answer, which of them is shown, and a number that a newer one outdates.
let shown = { citations: [], index: 0, turn: 0 };

/** An answer's citations with their links, those of one place put together. */
export function citationsOf(record, annotations) {
  const found = new Map();
  record.citations.forEach((citation, index) => {
    const link = annotations[index]?.url_citation?.url;
    if (!link) return;
    const name = `${citation.marker} ${link.split("&expires=")[0]}`;
    const places = found.get(name)?.places ?? [];
    found.set(name, { ...citation, link, places: [...places, [citation.start, citation.end]] });
  });
  return [...found.values()].sort((one, other) => one.marker - other.marker || one.places[0][0] - other.places[0][0]);
}

/** A list of cards; each opens its page. */
export function cards(citations) {
  const list = document.createElement("ol");
  list.className = "citations";
  list.setAttribute("aria-label", "Sources");
  citations.forEach((citation, index) => {
    const item = document.createElement("li");
    item.append(card(citation, () => openCitation(citations, index)));
    list.append(item);
  });
  return list;
}

/** Shows one citation's page; Escape closes it, and the focus goes back to where it was. */
export function openCitation(citations, index) {
  shown = { citations, index, turn: shown.turn };
  if (!viewer.open) viewer.showModal();
  show();
}

function card(citation, open) {
  const button = element("button", "citation");
  button.type = "button";
  const name = `${citation.document}, page ${citation.page}`;
  button.setAttribute("aria-label", `Source ${citation.marker}: ${name}`);
  button.title = name;
  button.append(sheet(citation), where(citation));
  button.addEventListener("click", open);
  return button;
}

function where(citation) {
  const whole = element("span", "where");
  const names = element("span", "names");
  names.append(
    element("span", "document", citation.document.split("/").pop() || citation.document),
    element("span", "page", `page ${citation.page}`),
  );
  whole.append(element("span", "number", String(citation.marker)), names);
  return whole;
}

/** A small picture of the page, or the quoted words where it has none. */
function sheet(citation) {
  const whole = element("span", "sheet");
  const words = () => {
    whole.classList.add("words");
    whole.replaceChildren(citation.quote || "No picture of this page");
  };
  if (citation.quote && !citation.boxes.length) {
    words();
    return whole;
  }
  const image = new Image();
  image.alt = "";
  image.loading = "lazy";
  image.decoding = "async";
  image.addEventListener("error", words);
  image.src = pageAddress(citation.link, { format: "image", width: 320 });
  // The marked words in the middle of what the card has room for.
  const top = citation.boxes.length ? citation.boxes[0].top : 0;
  image.addEventListener("load", () => {
    const room = image.naturalHeight - image.naturalWidth * 0.79;
    const place = room > 0 ? (top * image.naturalHeight - image.naturalWidth * 0.3) / room : 0;
    image.style.objectPosition = `50% ${Math.round(Math.min(1, Math.max(0, place)) * 100)}%`;
  });
  whole.append(image);
  return whole;
}

async function show() {
  const { citations, index } = shown;
  const turn = (shown.turn += 1);
  const citation = citations[index];
  document.getElementById("viewer-title").textContent = `${citation.document}, page ${citation.page}`;
  document.getElementById("viewer-place").textContent = citations.length > 1 ? `${index + 1} of ${citations.length}` : "";
  document.getElementById("viewer-quote").textContent = citation.quote;
  document.getElementById("viewer-link").href = pageAddress(citation.link, {}) + new URL(citation.link).hash;
  hide(back, citations.length < 2);
  hide(on, citations.length < 2);
  page.replaceChildren();
  page.setAttribute("aria-busy", "true");
  let content;
  try {
    content = await pageContent(citation);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    content = [element("p", "problem", error.message)];
  }
  if (turn !== shown.turn) return;
  page.replaceChildren(...content);
  page.setAttribute("aria-busy", "false");
  hide(near, !page.querySelector("img"));
  reveal();
}

async function pageContent(citation) {
  const view = await request(pageAddress(citation.link, { format: "json" }));
  const content = view.changed ? [element("p", "notice", "This page has changed since it was cited.")] : [];
  if (!view.has_picture) return [...content, pageText(view)];
  const image = new Image();
  image.alt = view.text ? `Picture of the page. Its text: ${view.text.slice(0, 4000)}` : "Picture of the page";
  image.src = pageAddress(citation.link, { format: "image" });
  try {
    await image.decode();
  } catch {
    return [...content, element("p", "problem", "The picture of this page cannot be shown."), pageText(view)];
  }
  return [...content, image];
}

function pageText(view) {
  const whole = element("pre");
  whole.dir = "auto";
  // Places are characters, and JavaScript counts halves of some.
  const characters = Array.from(view.text);
  let done = 0;
  for (const [start, end] of view.spans) {
    const [from, to] = [start - view.text_start, end - view.text_start];
    whole.append(characters.slice(done, from).join(""), element("mark", "", characters.slice(from, to).join("")));
    done = to;
  }
  whole.append(characters.slice(done).join(""));
  return whole;
}

/** Scrolls to the marked words. */
function reveal() {
  const { boxes } = shown.citations[shown.index];
  const image = page.querySelector("img");
  const mark = page.querySelector("mark");
  page.scrollTo(0, 0);
  if (image && boxes.length) {
    const [left, top] = [boxes[0].left * image.clientWidth, boxes[0].top * image.clientHeight];
    page.scrollTo(left - page.clientWidth / 4, top - page.clientHeight / 3);
  } else if (mark) {
    page.scrollTo(0, mark.offsetTop - page.offsetTop - page.clientHeight / 3);
  }
}

function enlarge(wanted) {
  page.classList.toggle("near", wanted);
  near.setAttribute("aria-pressed", String(wanted));
  reveal();
}

/** The focus must not be left on a button that goes: keys would no longer reach the dialog. */
function hide(button, wanted) {
  if (wanted && document.activeElement === button) close.focus();
  button.hidden = wanted;
}

function step(by) {
  const { citations, index } = shown;
  shown.index = (index + by + citations.length) % citations.length;
  show();
}

function element(kind, className = "", text = "") {
  const made = document.createElement(kind);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

back.addEventListener("click", () => step(-1));
on.addEventListener("click", () => step(1));
near.addEventListener("click", () => enlarge(near.getAttribute("aria-pressed") !== "true"));
close.addEventListener("click", () => viewer.close());
viewer.addEventListener("keydown", (event) => {
  if (shown.citations.length < 2 || event.altKey || event.ctrlKey || event.metaKey) return;
  // There the arrows move the page.
  if (event.target === page && page.classList.contains("near")) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
viewer.addEventListener("close", () => {
  shown.turn += 1;
  page.replaceChildren();
});
// A click beside the dialog closes it.
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close();
});
