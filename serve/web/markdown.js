// A small part of Markdown as DOM nodes: paragraphs, headings, lists, quotations, code, bold, italic, marks of sources.
// Text only ever becomes text nodes, so nothing that a document or a model says can become markup.

const FENCE = /^\s*(`{3,}|~{3,})/;
const HEADING = /^\s{0,3}#{1,6}\s+/;
const BULLET = /^\s{0,6}[-*+•]\s+/;
const NUMBERED = /^\s{0,6}(\d{1,9})[.)]\s+/;
const QUOTED = /^\s{0,3}>\s?/;
// Spans are bounded, so that no text, however odd, takes long.
const INLINE = /(?<!`)(`{1,3})(?!`)([^]{1,1000}?)(?<!`)\1(?!`)|\*\*(?![\s*])([^]{0,1000}?[^\s*])\*\*(?!\*)|\*(?![\s*])([^*]{0,1000}[^\s*])\*|\[(\d{1,3})\]/g;

/** The nodes of a text. mark(number, place): the node of a mark [number] that stands at that character, or null. */
export function render(text, mark) {
  const lines = splitLines(text);
  const out = document.createDocumentFragment();
  let at = 0;
  while (at < lines.length) at = block(lines, at, out, mark);
  return out;
}

/** Lines, each with the place of its first character in the text. */
function splitLines(text) {
  const lines = [];
  let start = 0;
  for (const line of text.split("\n")) {
    lines.push({ text: line, start });
    start += line.length + 1;
  }
  return lines;
}

/** Adds the block that begins at line `at`; the line behind it. */
function block(lines, at, out, mark) {
  const line = lines[at].text;
  if (!line.trim()) return at + 1;
  if (FENCE.test(line)) return code(lines, at, out);
  if (HEADING.test(line)) {
    out.append(inlineElement("h3", [cut(lines[at], HEADING)], mark));
    return at + 1;
  }
  if (QUOTED.test(line)) return run(lines, at, QUOTED, (found) => out.append(inlineElement("blockquote", found, mark)));
  if (BULLET.test(line)) return list("ul", lines, at, BULLET, out, mark);
  if (NUMBERED.test(line)) return list("ol", lines, at, NUMBERED, out, mark);
  let end = at + 1;
  while (end < lines.length && lines[end].text.trim() && !begins(lines[end].text)) end += 1;
  out.append(inlineElement("p", lines.slice(at, end), mark));
  return end;
}

function begins(line) {
  return [FENCE, HEADING, QUOTED, BULLET, NUMBERED].some((form) => form.test(line));
}

function code(lines, at, out) {
  const fence = FENCE.exec(lines[at].text)[1];
  let end = at + 1;
  while (end < lines.length && !lines[end].text.trim().startsWith(fence)) end += 1;
  const pre = document.createElement("pre");
  const inner = document.createElement("code");
  inner.textContent = lines.slice(at + 1, end).map((line) => line.text).join("\n");
  pre.tabIndex = 0;
  pre.append(inner);
  out.append(pre);
  return end + 1;
}

function run(lines, at, form, add) {
  let end = at;
  while (end < lines.length && form.test(lines[end].text)) end += 1;
  add(lines.slice(at, end).map((line) => cut(line, form)));
  return end;
}

function list(kind, lines, at, form, out, mark) {
  const whole = document.createElement(kind);
  if (kind === "ol") whole.start = Number(NUMBERED.exec(lines[at].text)[1]);
  while (at < lines.length && form.test(lines[at].text)) {
    const item = [cut(lines[at], form)];
    at += 1;
    while (at < lines.length && lines[at].text.trim() && !begins(lines[at].text)) item.push(lines[at++]);
    whole.append(inlineElement("li", item, mark));
    // A blank line between two items does not end the list.
    if (at + 1 < lines.length && !lines[at].text.trim() && form.test(lines[at + 1].text)) at += 1;
  }
  out.append(whole);
  return at;
}

function cut(line, form) {
  const length = form.exec(line.text)[0].length;
  return { text: line.text.slice(length), start: line.start + length };
}

function inlineElement(kind, lines, mark) {
  const element = document.createElement(kind);
  element.dir = "auto";
  lines.forEach((line, number) => {
    if (number) element.append(document.createElement("br"));
    inline(line.text, line.start, element, mark);
  });
  return element;
}

function inline(text, start, parent, mark) {
  let done = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, , coded, bold, italic, number] = match;
    const node = inlineNode(whole, coded, bold, italic, number, start + match.index, mark);
    if (node === null) continue;
    // A mark stays on the line of the word before it.
    const before = text.slice(done, match.index);
    parent.append(number === undefined ? before : before.replace(/ $/, "\u00a0"), node);
    done = match.index + whole.length;
  }
  parent.append(text.slice(done));
}

function inlineNode(whole, coded, bold, italic, number, place, mark) {
  if (number !== undefined) return mark(Number(number), place);
  const node = document.createElement(coded !== undefined ? "code" : bold !== undefined ? "strong" : "em");
  if (coded !== undefined) node.textContent = coded.trim() || coded;
  else inline(bold ?? italic, place + (bold !== undefined ? 2 : 1), node, mark);
  return node;
}
