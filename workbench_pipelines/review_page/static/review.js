// Keys, the mark that further columns were looked at, and drawing on images. The page works without it, by its forms.
"use strict";

const byId = (id) => document.getElementById(id);
const isTyping = (element) => element && (element.tagName === "TEXTAREA" || element.tagName === "SELECT" ||
  (element.tagName === "INPUT" && !["radio", "checkbox", "submit"].includes(element.type)));

function press(id) {
  const target = byId(id);
  if (target) target.click();
}

function firstField() {
  const form = byId("judge");
  if (!form) return;
  const field = form.querySelector("[name^='label.']:checked") || form.querySelector("[name^='label.']");
  if (field) { field.focus(); field.scrollIntoView({ block: "center" }); }
}

function choose(digit) {
  const form = byId("judge");
  const active = document.activeElement && document.activeElement.closest("fieldset");
  const within = active && active.querySelector(`[data-digit="${digit}"]`) ? active : form;
  const option = within && within.querySelector(`[data-digit="${digit}"]`);
  if (option) { option.checked = true; option.focus(); }
}

let sent = false;
document.addEventListener("submit", (event) => {
  if (sent) { event.preventDefault(); return; }
  sent = true;  // a key held down sends one decision, not two
});
window.addEventListener("pageshow", () => { sent = false; });

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && byId("save")) {
    event.preventDefault(); press("save"); return;
  }
  if (event.key === "Escape" && document.activeElement) { document.activeElement.blur(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || isTyping(document.activeElement)) return;
  const keys = { a: "approve", r: "reject", f: "flag", j: "next", k: "previous", u: "undo" };
  if (keys[event.key]) { event.preventDefault(); press(keys[event.key]); }
  else if (event.key === "e") { event.preventDefault(); firstField(); }
  else if (/^[1-9]$/.test(event.key)) { event.preventDefault(); choose(event.key); }
});

const more = byId("more");
if (more) {
  if (byId("looked") && byId("looked").value === "1") more.open = true;
  more.addEventListener("toggle", () => { if (more.open && byId("looked")) byId("looked").value = "1"; });
}

// A PDF is fetched once somebody wants to look at it.
document.querySelectorAll("details.paper").forEach((paper) => paper.addEventListener("toggle", () => {
  if (!paper.open || paper.querySelector("iframe")) return;
  const frame = document.createElement("iframe");
  frame.title = paper.querySelector("summary").textContent;
  frame.src = paper.dataset.document;
  paper.append(frame);
}));

// Images: zoom, and boxes and polygons that stand as JSON in the fields they belong to.
const SVG = "http://www.w3.org/2000/svg";
const drawings = [...document.querySelectorAll("textarea[data-draw]")];

function shapesOf(field) {
  try { const found = JSON.parse(field.value || "[]"); return Array.isArray(found) ? found : []; } catch { return []; }
}

function make(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

const corners = (points) => points.map((p) => Array.isArray(p) ? p.join(",") : `${p.x},${p.y}`).join(" ");

function picture(figure) {
  const image = figure.querySelector("img"), stage = figure.querySelector(".stage"), overlay = figure.querySelector("svg");
  let zoom = 1, start = null, open = [];
  figure.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    zoom = Math.min(8, Math.max(1, zoom * (button.dataset.zoom === "in" ? 1.5 : 1 / 1.5)));
    stage.style.width = `${zoom * 100}%`;
  }));
  if (!drawings.length) return;
  let field = drawings[0];
  const caption = figure.querySelector("figcaption");
  function choice(name) {
    const made = document.createElement("select");
    made.setAttribute("aria-label", name);
    caption.append(" ", made);
    return made;
  }
  if (drawings.length > 1) {
    const tool = choice("Draw");
    drawings.forEach((one, place) => tool.add(new Option(one.name.replace("label.", ""), place)));
    tool.addEventListener("change", () => { field = drawings[tool.value]; open = []; relabel(); draw(); });
  }
  const label = choice("What is drawn");
  function relabel() {
    const labels = JSON.parse(field.dataset.labels || "[]");
    label.replaceChildren(...labels.map((name) => new Option(name, name)));
    label.hidden = !labels.length;
  }
  relabel();
  const last = document.createElement("button");
  last.type = "button"; last.textContent = "Remove the last";
  last.addEventListener("click", () => { if (open.length) open = []; else save(shapesOf(field).slice(0, -1)); draw(); });
  caption.append(" ", last);
  overlay.classList.add("drawing");

  const kind = () => field.dataset.draw;
  function save(all) { field.value = JSON.stringify(all, null, 1); }
  function add(shape) { save([...shapesOf(field), label.value ? { label: label.value, ...shape } : shape]); draw(); }
  function draw(extra) {
    overlay.setAttribute("viewBox", `0 0 ${image.naturalWidth || 1} ${image.naturalHeight || 1}`);
    overlay.replaceChildren();
    for (const [one, shape] of drawings.flatMap((one) => shapesOf(one).map((shape) => [one, shape]))) {
      if (one.dataset.draw === "box") overlay.append(make("rect", { x: shape.x, y: shape.y, width: shape.width, height: shape.height }));
      else overlay.append(make("polygon", { points: corners(shape.points || []) }));
    }
    if (extra) overlay.append(extra);
    if (open.length) overlay.append(make("polyline", { points: corners(open) }));
  }
  function place(event) {
    const box = overlay.getBoundingClientRect();
    const within = (value, most) => Math.round(Math.min(most, Math.max(0, value)));
    return [within((event.clientX - box.left) / box.width * image.naturalWidth, image.naturalWidth),
      within((event.clientY - box.top) / box.height * image.naturalHeight, image.naturalHeight)];
  }
  const span = (a, b) => ({ x: Math.min(a[0], b[0]), y: Math.min(a[1], b[1]),
    width: Math.abs(a[0] - b[0]), height: Math.abs(a[1] - b[1]) });

  overlay.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    if (kind() === "box") { start = place(event); overlay.setPointerCapture(event.pointerId); }
  });
  overlay.addEventListener("pointermove", (event) => { if (start) draw(make("rect", span(start, place(event)))); });
  overlay.addEventListener("pointerup", (event) => {
    if (!start) return;
    const box = span(start, place(event));
    start = null;
    if (box.width > 1 && box.height > 1) add(box); else draw();
  });
  overlay.addEventListener("click", (event) => {
    if (kind() === "polygon" && event.detail < 2) { open.push(place(event)); draw(); }
  });
  overlay.addEventListener("dblclick", () => {
    if (kind() !== "polygon" || open.length < 3) return;
    const points = open;
    open = [];
    add({ points });
  });
  drawings.forEach((one) => one.addEventListener("input", () => draw()));
  if (image.complete) draw(); else image.addEventListener("load", () => draw());
}
document.querySelectorAll("figure.picture").forEach(picture);

const problem = byId("problem");
if (problem) problem.scrollIntoView({ block: "start" });
