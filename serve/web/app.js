// The conversation: asking, the answer as it comes, what it rests on.

import { ApiError, hasKey, request, setKey, stream } from "./api.js";
import { cards, citationsOf, openCitation } from "./citations.js";
import { render } from "./markdown.js";
import { prepareUploads } from "./uploads.js";

const at = (id) => document.getElementById(id);
const conversation = at("conversation");
const question = at("question");
const corpus = at("corpus");
const filter = at("filter");
const status = at("status");
// Earlier turns as the API takes them, and what stops the answer that is being written.
let history = [];
let writing = null;

async function start() {
  hideProblem();
  try {
    const models = (await request("v1/models")).data;
    const names = await prepareUploads(choose);
    showCorpora(models.map((model) => ({ id: model.id, name: names.get(model.id) ?? model.id })));
    at("key-form").hidden = true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) askForKey(hasKey());
    else showProblem(error);
  }
}

/** A collection that files were added to is the one that is asked next. */
async function choose(store) {
  await start();
  corpus.value = store;
}

function showCorpora(models) {
  const before = corpus.value;
  corpus.replaceChildren(...models.map((model) => new Option(model.name, model.id)));
  if (models.some((model) => model.id === before)) corpus.value = before;
  corpus.disabled = models.length === 0;
  if (models.length === 0) corpus.append(new Option("No documents yet", ""));
}

async function ask(text) {
  const turn = newTurn(text);
  const body = {
    model: corpus.value,
    messages: [...history, { role: "user", content: text }],
    stream: true,
    ...(filter.value.trim() && !at("filter-row").hidden ? { filters: filter.value.trim() } : {}),
  };
  const control = new AbortController();
  setWriting(control);
  const started = performance.now();
  try {
    await readAnswer(stream("v1/chat/completions", body, control.signal), turn, started);
    history.push({ role: "user", content: text }, { role: "assistant", content: withoutMarks(turn.text) });
    say(turn.citations.length ? `Answer complete. Sources: ${turn.citations.length}.` : "Answer complete.");
  } catch (error) {
    failed(error, turn, text);
  } finally {
    turn.draw();
    turn.body.classList.remove("waiting");
    turn.body.setAttribute("aria-busy", "false");
    setWriting(null);
  }
}

async function readAnswer(chunks, turn, started) {
  for await (const chunk of chunks) {
    const delta = chunk.choices[0]?.delta;
    if (delta?.content) turn.add(delta.content);
    if (delta?.refusal) {
      turn.add(turn.text && !turn.isRefused ? `\n\n${delta.refusal}` : delta.refusal);
      turn.isRefused = true;
    }
    if (chunk.ragkit) finish(turn, chunk.ragkit, delta?.annotations ?? [], performance.now() - started);
  }
}

/** What the last chunk brings: marks where the engine wrote none, citations, notes. */
function finish(turn, record, annotations, took) {
  if (record.found) turn.text = record.answer;
  turn.citations = citationsOf(record, annotations);
  if (turn.citations.length) turn.article.append(cards(turn.citations));
  turn.article.append(about(record, took));
}

function newTurn(text) {
  at("welcome").hidden = true;
  at("restart").hidden = false;
  const article = document.createElement("article");
  article.className = "turn";
  const heading = document.createElement("h2");
  heading.textContent = text;
  heading.dir = "auto";
  const body = document.createElement("div");
  body.className = "answer waiting";
  // Readers of screens hear the answer when it is complete, not every piece of it.
  body.setAttribute("aria-live", "polite");
  body.setAttribute("aria-busy", "true");
  article.append(heading, body);
  conversation.append(article);
  article.scrollIntoView({ block: "start" });
  return new Turn(article, body);
}

class Turn {
  constructor(article, body) {
    this.article = article;
    this.body = body;
    this.text = "";
    this.citations = [];
    this.planned = 0;
    this.isRefused = false;
  }

  add(piece) {
    this.text += piece;
    this.planned ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.planned);
    this.planned = 0;
    const follow = window.innerHeight + window.scrollY >= document.body.scrollHeight - 60;
    const places = codePoints(this.text);
    this.body.replaceChildren(render(this.text, (number, place) => this.mark(number, places(place))));
    if (follow && writing) window.scrollTo(0, document.body.scrollHeight);
  }

  /** A button that opens the citation; while the answer comes the number alone. */
  mark(number, place) {
    const holds = (citation) => citation.places.some(([start, end]) => start <= place && place < end);
    const own = this.citations.filter((citation) => citation.marker === number);
    const index = this.citations.indexOf(own.find(holds) ?? own[0]);
    const node = document.createElement(index < 0 ? "span" : "button");
    node.className = "mark";
    node.textContent = String(number);
    if (index < 0) return this.citations.length || !writing ? null : node;
    const { document: name, page } = this.citations[index];
    node.type = "button";
    node.setAttribute("aria-label", `Source ${number}: ${name}, page ${page}`);
    node.title = `${name}, page ${page}`;
    node.addEventListener("click", () => openCitation(this.citations, index));
    return node;
  }
}

/** From a place in JavaScript's text, which counts halves of some characters, to one in the server's. */
function codePoints(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (place) => place;
  return (place) => Array.from(text.slice(0, place)).length;
}

function withoutMarks(text) {
  return text.replace(/\s*\[\d{1,3}\]/g, "");
}

function about(record, took) {
  const whole = document.createElement("details");
  whole.className = "about";
  const summary = document.createElement("summary");
  summary.textContent = "About this answer";
  const list = document.createElement("ul");
  const found = record.hits.length === 1 ? "1 passage" : `${record.hits.length} passages`;
  const seconds = (took / 1000).toFixed(1);
  const lines = [...record.notes, `${found} found; written by ${record.engine} in ${seconds} s.`];
  for (const line of lines) list.append(Object.assign(document.createElement("li"), { textContent: line }));
  whole.append(summary, list);
  return whole;
}

function failed(error, turn, text) {
  if (error.name === "AbortError") {
    turn.article.append(note("Stopped."));
    say("Stopped.");
    return;
  }
  const known = error instanceof ApiError;
  const problem = problemElement(known ? error : new ApiError(`This page failed: ${error.message}`));
  turn.article.append(problem);
  problem.scrollIntoView({ block: "nearest" });
  if (!known) throw error;
  say(error.message);
  if (!question.value) question.value = text;
  if (error.status === 401) askForKey(hasKey());
}

function note(text) {
  const line = document.createElement("p");
  line.className = "about";
  line.textContent = text;
  return line;
}

function problemElement(error) {
  const whole = document.createElement("p");
  whole.className = "problem";
  fillProblem(whole, error);
  return whole;
}

function fillProblem(element, error) {
  element.textContent = error.message;
  if (!error.requestId || error.message.includes(error.requestId)) return;
  const small = document.createElement("small");
  small.textContent = `Request ${error.requestId}`;
  element.append(small);
}

function showProblem(error) {
  fillProblem(at("problem"), error);
  at("problem").hidden = false;
}

function hideProblem() {
  at("problem").hidden = true;
}

function askForKey(wasRefused) {
  at("key-form").hidden = false;
  at("key-hint").textContent = wasRefused
    ? "The server does not know the key that was given. It is kept until this tab is closed."
    : "It is kept until this tab is closed.";
  at("key").focus();
}

function say(text) {
  status.textContent = text;
}

function setWriting(control) {
  const hadFocus = document.activeElement === at("send") || document.activeElement === at("stop");
  writing = control;
  at("send").hidden = control !== null;
  at("stop").hidden = control === null;
  if (hadFocus) (control ? at("stop") : question).focus();
  if (control) say("Answering.");
}

function fitQuestion() {
  if (CSS.supports("field-sizing", "content")) return;
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

function send() {
  const text = question.value.trim();
  if (!text || writing) return;
  if (!corpus.value) {
    showProblem(new ApiError("There are no documents to ask yet; add some first."));
    return;
  }
  hideProblem();
  question.value = "";
  fitQuestion();
  ask(text);
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("ragkit-theme", theme);
  at("theme").setAttribute("aria-pressed", String(theme === "dark"));
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
question.addEventListener("keydown", (event) => {
  // Not while an input method is composing a character.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
question.addEventListener("input", fitQuestion);
at("stop").addEventListener("click", () => writing?.abort());
at("restart").addEventListener("click", () => {
  writing?.abort();
  history = [];
  conversation.replaceChildren();
  at("welcome").hidden = false;
  at("restart").hidden = true;
  question.focus();
});
at("filter-toggle").addEventListener("click", () => {
  const row = at("filter-row");
  row.hidden = !row.hidden;
  at("filter-toggle").setAttribute("aria-expanded", String(!row.hidden));
  if (!row.hidden) filter.focus();
});
at("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
at("theme").setAttribute("aria-pressed", String(isDark()));
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(at("key").value.trim());
  at("key").value = "";
  start();
  question.focus();
});

question.focus();
start();
