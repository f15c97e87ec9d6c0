// A small part of Markdown as DOM nodes: paragraphs, headings, lists, quotations, code, tables, bold, italic, marks of
// sources.
// Text only ever becomes text nodes, so nothing that a document or a model says can become markup.

const FENCE = /^\s*(`{3,}|~{3,})/;
const HEADING = /^\s{0,3}#{1,6}\s+/;
const BULLET = /^\s{0,6}[-*+•]\s+/;
const NUMBERED = /^\s{0,6}(\d{1,9})[.)]\s+/;
const QUOTED = /^\s{0,3}>\s?/;
const PIPE = /(?<!\\)\|/g;
const RULE = /^:?-+:?$/;
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
  const columns = columnsAt(lines, at);
  if (columns) return table(lines, at, columns, out, mark);
  let end = at + 1;
  while (goesOn(lines, end)) end += 1;
  out.append(inlineElement("p", lines.slice(at, end), mark));
  return end;
}

function begins(line) {
  return [FENCE, HEADING, QUOTED, BULLET, NUMBERED].some((form) => form.test(line));
}

/** Whether a line belongs to the paragraph, or to the item, of the line before it. */
function goesOn(lines, at) {
  return at < lines.length && lines[at].text.trim() && !begins(lines[at].text) && !columnsAt(lines, at);
}

/** The sides that the columns of the table keep to which begins at line `at`, "" for any; null where none begins. */
function columnsAt(lines, at) {
  if (at + 1 === lines.length || ![lines[at], lines[at + 1]].every((line) => line.text.includes("|"))) return null;
  const rules = cells(lines[at + 1]).map((cell) => cell.text);
  if (!rules.length || !rules.every((rule) => RULE.test(rule)) || cells(lines[at]).length !== rules.length) return null;
  return rules.map(side);
}

function side(rule) {
  const [left, right] = [rule.startsWith(":"), rule.endsWith(":")];
  if (left && right) return "center";
  return left ? "left" : right ? "right" : "";
}

/** What stands between the pipes of a line; those at its ends are none of them. */
function cells(line) {
  const ends = [...line.text.matchAll(PIPE)].map((match) => match.index);
  const found = [...ends, line.text.length].map((end, number) => {
    const start = number ? ends[number - 1] + 1 : 0;
    const text = line.text.slice(start, end).trimEnd();
    return { text: text.trimStart(), start: line.start + start + text.length - text.trimStart().length };
  });
  if (!found[0].text) found.shift();
  if (found.length && !found.at(-1).text) found.pop();
  return found;
}

function table(lines, at, columns, out, mark) {
  const whole = document.createElement("table");
  whole.append(row("th", lines[at], columns, mark));
  let end = at + 2;
  while (end < lines.length && lines[end].text.includes("|") && !begins(lines[end].text)) {
    whole.append(row("td", lines[end], columns, mark));
    end += 1;
  }
  // It may be wider than the page.
  const frame = document.createElement("div");
  frame.className = "table";
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", "Table");
  frame.append(whole);
  out.append(frame);
  return end;
}

function row(kind, line, columns, mark) {
  const whole = document.createElement("tr");
  cells(line).slice(0, columns.length).forEach((cell, number) => {
    const node = inlineElement(kind, ...unescaped(cell, mark));
    if (columns[number]) node.className = columns[number];
    if (kind === "th") node.scope = "col";
    whole.append(node);
  });
  return whole;
}

/** A cell's text with its escaped pipes as pipes, and `mark`, which is told the places that they had before. */
function unescaped(cell, mark) {
  if (!cell.text.includes("\\|")) return [[cell], mark];
  const places = [];
  for (let at = 0; at < cell.text.length; at += cell.text.startsWith("\\|", at) ? 2 : 1) places.push(cell.start + at);
  const text = cell.text.replaceAll("\\|", "|");
  return [[{ text, start: 0 }], (number, place) => mark(number, places[place])];
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
    while (goesOn(lines, at)) item.push(lines[at++]);
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
