// Adding documents: bytes go up with a bar, then the server's own progress is asked for until each file is indexed.

import { ApiError, authorization, problem, request } from "./api.js";

const at = (id) => document.getElementById(id);
const dialog = at("documents");
const POLL_MS = 700;
let changed = () => {};
// From a click until its files are on their way: a second one would send them once more.
let starting = false;

/**
 * Shows the button where this reader may upload; the names of the collections there are.
 * whenChanged: called with a collection's id when files of it were indexed.
 */
export async function prepareUploads(whenChanged) {
  changed = whenChanged;
  const stores = (await allowed("v1/vector_stores?limit=1")) ? await collections() : [];
  at("documents-open").hidden = !(await allowed("v1/files?limit=1"));
  // The other ones are corpora that the server was started with; they are read-only.
  const open = stores.filter((store) => store.id.startsWith("vs_") && store.status !== "expired");
  const before = at("store").value;
  const names = distinctNames(stores);
  const options = open.map((store) => new Option(names.get(store.id) ?? store.id, store.id));
  at("store").replaceChildren(...options, new Option("New collection …", ""));
  if (open.some((store) => store.id === before)) at("store").value = before;
  showNameRow();
  return names;
}

/** By id the names of those that have one; behind a name that several have stands the id. */
function distinctNames(stores) {
  const named = stores.filter((store) => store.name);
  const times = new Map();
  for (const store of named) times.set(store.name, (times.get(store.name) ?? 0) + 1);
  const shown = ({ id, name }) => (times.get(name) > 1 && name !== id ? `${name} (${id})` : name);
  return new Map(named.map((store) => [store.id, shown(store)]));
}

/** Whether the server has this and gives it to this reader. */
async function allowed(path) {
  try {
    await request(path);
    return true;
  } catch (error) {
    if (error instanceof ApiError && [403, 404].includes(error.status)) return false;
    throw error;
  }
}

async function collections() {
  const found = [];
  for (let after = ""; ; ) {
    const page = await request(`v1/vector_stores?limit=100${after}`);
    found.push(...page.data);
    if (!page.has_more || !page.data.length) return found;
    after = `&after=${encodeURIComponent(page.last_id)}`;
  }
}

async function newCollection() {
  const name = at("store-name").value.trim();
  if (!name) throw new ApiError("Give the new collection a name.");
  const made = await request("v1/vector_stores", { json: { name } });
  at("store").prepend(new Option(name, made.id));
  at("store").value = made.id;
  at("store-name").value = "";
  showNameRow();
  return made.id;
}

/** Works on at most `width` items at a time. */
function inTurns(items, width, work) {
  const waiting = [...items];
  const worker = async () => {
    while (waiting.length) await work(waiting.shift());
  };
  return Array.from({ length: Math.min(width, items.length) }, worker);
}

async function uploadOne(file, store) {
  const line = new Line(file.name);
  try {
    const sent = await send(file, (share) => line.show("Uploading", share));
    line.show("Waiting");
    let state = await request(`v1/vector_stores/${encodeURIComponent(store)}/files`, { json: { file_id: sent.id } });
    while (state.status === "in_progress") {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      state = await request(`v1/vector_stores/${encodeURIComponent(store)}/files/${encodeURIComponent(sent.id)}`);
      line.indexing(state.ragkit);
    }
    line.end(state.status, state.last_error?.message);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    line.end("failed", error.message);
  }
}

/** The bytes of a file; fetch does not tell how many are sent. */
function send(file, progress) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    const lost = () => reject(new ApiError("The upload did not reach the server."));
    call.open("POST", "v1/files");
    for (const [name, value] of Object.entries(authorization())) call.setRequestHeader(name, value);
    call.upload.addEventListener("progress", (event) => progress(event.total ? event.loaded / event.total : 0));
    call.addEventListener("error", lost);
    call.addEventListener("abort", lost);
    call.addEventListener("load", () => {
      if (call.status === 200) return resolve(JSON.parse(call.responseText));
      return reject(problem(call.status, call.responseText, call.getResponseHeader("x-request-id") ?? ""));
    });
    const form = new FormData();
    form.append("purpose", "user_data");
    form.append("file", file);
    call.send(form);
  });
}

class Line {
  constructor(name) {
    this.item = document.createElement("li");
    this.words = document.createElement("span");
    this.bar = document.createElement("progress");
    this.bar.max = 1;
    this.bar.setAttribute("aria-label", name);
    this.name = name;
    this.item.append(this.words, this.bar);
    at("uploads").prepend(this.item);
    this.show("Uploading", 0);
  }

  show(words, share) {
    this.words.textContent = `${this.name}: ${words}`;
    if (share === undefined) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }

  indexing(facts) {
    const { stage, pages_done: read, pages, passages_done: embedded, passages } = facts ?? {};
    if (stage === "embedding" && passages) this.step("Embedding, passage", embedded, passages);
    else if (stage === "reading" && pages) this.step("Reading, page", read, pages);
    else this.show({ waiting: "Waiting", writing: "Writing" }[stage] ?? "Indexing");
  }

  step(words, done, of) {
    this.show(`${words} ${Math.min(done + 1, of)} of ${of}`, done / of);
  }

  end(state, reason) {
    this.bar.remove();
    const words = { completed: "Ready", cancelled: "Cancelled" }[state] ?? reason ?? "Failed";
    this.words.textContent = `${this.name}: ${words}`;
    this.item.className = state;
    at("status").textContent = this.words.textContent;
  }
}

function showNameRow() {
  at("store-name-row").hidden = at("store").value !== "";
}

function showProblem(text) {
  at("upload-problem").textContent = text;
  at("upload-problem").hidden = !text;
}

at("store").addEventListener("change", showNameRow);
at("documents-open").addEventListener("click", () => dialog.showModal());
at("documents-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
/** The collection that files go to, made where it is a new one; the choice of files is empty then. */
async function takeFiles() {
  starting = true;
  try {
    const store = at("store").value || (await newCollection());
    at("files").value = "";
    return store;
  } finally {
    starting = false;
  }
}

at("upload-send").addEventListener("click", (event) => {
  // The second half of a double click.
  if (event.detail > 1) event.preventDefault();
});
at("upload").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (starting) return;
  const files = [...at("files").files];
  showProblem(files.length ? "" : "Choose at least one file.");
  if (!files.length) return;
  try {
    const store = await takeFiles();
    await Promise.all(inTurns(files, 3, (file) => uploadOne(file, store)));
    changed(store);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showProblem(error.message);
  }
});
