// Talking to the server this page came from: relative addresses, an API key where it asks for one, errors in words.

const KEY = "ragkit-key";

/** What went wrong, in words for the reader; status 0 where the server was not reached. */
export class ApiError extends Error {
  constructor(message, status = 0, requestId = "") {
    super(message);
    this.status = status;
    this.requestId = requestId;
  }
}

export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

export function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { authorization: `Bearer ${key}` } : {};
}

/** A reply's JSON. options: those of fetch; `json` becomes the body. */
export async function request(path, { json, ...options } = {}) {
  const reply = await send(path, { json, ...options });
  try {
    return await reply.json();
  } catch (error) {
    throw unreachable(error);
  }
}

/** The chunks of a streamed reply, parsed, as they come. */
export async function* stream(path, json, signal) {
  const reply = await send(path, { json, signal });
  const requestId = reply.headers.get("x-request-id") ?? "";
  for await (const data of events(reply.body)) {
    if (data === "[DONE]") return;
    const chunk = parsed(data, requestId);
    if (chunk.error) throw new ApiError(chunk.error.message, reply.status, requestId);
    yield chunk;
  }
  throw new ApiError("The connection ended before the answer was complete.", 0, requestId);
}

function parsed(data, requestId) {
  try {
    return JSON.parse(data);
  } catch {
    throw new ApiError("The server sent an answer that cannot be read.", 0, requestId);
  }
}

/** The error that a reply holds; body: its text. */
export function problem(status, body, requestId, retryAfter = "") {
  let message = "";
  try {
    message = JSON.parse(body).error.message;
  } catch {
    message = `The server answered with status ${status}.`;
  }
  if (retryAfter) message += ` Try again in ${retryAfter} s.`;
  return new ApiError(message, status, requestId);
}

/** A link to a page as an address here, whatever name the server gave itself. extra: more parameters. */
export function pageAddress(link, extra) {
  const url = new URL(link, document.baseURI);
  const start = url.pathname.indexOf("/v1/ragkit/pages/");
  const here = new URL(`.${url.pathname.slice(start)}${url.search}`, document.baseURI);
  for (const [name, value] of Object.entries(extra)) here.searchParams.set(name, value);
  return here.href;
}

async function send(path, { json, headers, ...options }) {
  const init = { ...options, headers: { ...authorization(), ...headers } };
  if (json !== undefined) {
    init.method = options.method ?? "POST";
    init.body = JSON.stringify(json);
    init.headers["content-type"] = "application/json";
  }
  let reply;
  try {
    reply = await fetch(path, init);
  } catch (error) {
    throw unreachable(error);
  }
  if (reply.ok) return reply;
  const requestId = reply.headers.get("x-request-id") ?? "";
  throw problem(reply.status, await reply.text(), requestId, reply.headers.get("retry-after") ?? "");
}

function unreachable(error) {
  if (error.name === "AbortError") return error;
  return new ApiError("The server could not be reached. Is it running, and is the network there?");
}

/** The data of each server-sent event. */
async function* events(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let held = "";
  try {
    for (;;) {
      let piece;
      try {
        piece = await reader.read();
      } catch (error) {
        throw unreachable(error);
      }
      if (piece.done) return;
      held += decoder.decode(piece.value, { stream: true });
      const parts = held.split(/\r?\n\r?\n/);
      held = parts.pop();
      for (const part of parts) {
        const lines = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
