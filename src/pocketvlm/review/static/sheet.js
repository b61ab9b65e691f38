// The contact sheet: thousands of pictures, of which only the rows in sight are in the document.

import { $, h, many, tell, thumbnail } from "./dom.js";
import { WORDS, withoutLabel } from "./store.js";

const CELL = 148; // least width of a cell, CSS pixels; two thirds of it on a phone
const CAPTION = 26;
const GAP = 8;
const MARKS = { accept: "\u2713", relabel: "\u270e", reject: "\u2715" };
const DOUBLE = 500; // ms between two taps that are one double tap
const KEYS = ["Space selects, Enter opens.", "a digit, a or x decides on all of them; Escape lets go"];
const TOUCH = ["A tap selects, a double tap opens.", "the buttons below decide on all of them"];
const SPARE = 2; // rows above and below that are ready

export class Sheet {
  constructor(desk, { open, redraw }) {
    Object.assign(this, { desk, open, redraw, rows: new Map(), selected: new Set(), anchor: 0 });
    this.scroll = $("scroll");
    this.grid = $("grid");
    this.scroll.addEventListener("scroll", redraw, { passive: true });
    new ResizeObserver(() => { this.measured = false; redraw(); }).observe(this.scroll);
    this.grid.addEventListener("click", (event) => this.#click(event));
    this.grid.addEventListener("dblclick", (event) => {
      if (event.target.closest("[role=gridcell]")) this.open();
    });
  }

  // Forget the rows: the list is another.
  reset() {
    for (const row of this.rows.values()) drop(row);
    this.rows.clear();
    const known = new Set(this.desk.order);
    for (const at of this.selected) if (!known.has(at)) this.selected.delete(at);
    this.anchor = this.desk.position;
    this.measured = false;
  }

  targets() {
    if (!this.selected.size) return this.desk.order.length ? [this.desk.at] : [];
    return this.desk.order.filter((at) => this.selected.has(at));
  }

  draw() {
    if (!this.measured) this.#measure();
    const top = Math.floor(this.scroll.scrollTop / this.height) - SPARE;
    const bottom = Math.ceil((this.scroll.scrollTop + this.scroll.clientHeight) / this.height) + SPARE;
    for (const [number, row] of this.rows) {
      if (number < top || number >= bottom) { drop(row); this.rows.delete(number); }
    }
    const last = Math.min(bottom, Math.ceil(this.desk.order.length / this.columns));
    for (let number = Math.max(0, top); number < last; number++) this.#row(number);
    const all = many(this.desk.order.length, "picture");
    const [how, then] = matchMedia("(pointer: coarse)").matches ? TOUCH : KEYS;
    const count = this.selected.size;
    tell($("sheet-said"), count ? `${count} of ${all} selected: ${then}` : `${all}. ${how}`);
  }

  #measure() {
    const width = this.grid.clientWidth;
    const least = width < 560 ? CELL * 2 / 3 : CELL;
    this.columns = Math.max(2, Math.floor((width + GAP) / (least + GAP)));
    this.side = Math.floor((width + GAP) / this.columns) - GAP;
    this.height = this.side + CAPTION + GAP;
    this.grid.style.height = `${Math.ceil(this.desk.order.length / this.columns) * this.height}px`;
    this.grid.style.setProperty("--columns", this.columns);
    this.grid.style.setProperty("--side", `${this.side}px`);
    this.grid.setAttribute("aria-rowcount", Math.ceil(this.desk.order.length / this.columns));
    this.grid.setAttribute("aria-colcount", this.columns);
    this.wanted ||= this.grid.contains(document.activeElement); // or the keys would be lost
    for (const row of this.rows.values()) drop(row);
    this.rows.clear();
    this.measured = true;
  }

  #row(number) {
    const start = number * this.columns;
    const row = this.rows.get(number) ?? this.#newRow(number, start);
    [...row.children].forEach((cell, column) => this.#fill(cell, start + column));
  }

  // In the document rows stand in their order: screen readers go by it.
  #newRow(number, start) {
    const row = h("div", { role: "row", "aria-rowindex": number + 1 });
    row.style.transform = `translateY(${number * this.height}px)`;
    const places = this.desk.order.slice(start, start + this.columns);
    row.append(...places.map((at, column) => this.#cell(at, column)));
    this.rows.set(number, row);
    const later = [...this.rows.keys()].filter((other) => other > number);
    this.grid.insertBefore(row, later.length ? this.rows.get(Math.min(...later)) : null);
    return row;
  }

  #cell(at, column) {
    return h("div", { role: "gridcell", "aria-colindex": column + 1, tabindex: -1 },
      thumbnail(this.desk.store.sha256[at]),
      h("span", { class: "caption" }));
  }

  #fill(cell, position) {
    const { store, order } = this.desk;
    const at = order[position];
    const made = store.decisionOf(at);
    const label = store.labelOf(at) ?? (made ? "" : withoutLabel(store.status[at]));
    const sure = store.confidence[at] === null || made ? "" : store.confidence[at].toFixed(2);
    const words = made ? WORDS[made.decision] : "";
    cell.dataset.position = position;
    cell.className = made ? made.decision : "";
    const mark = made ? MARKS[made.decision] : "";
    tell(cell.lastChild, phrase(mark, label || words, sure));
    cell.setAttribute("aria-label", `${position + 1}: ${phrase(label, sure, words)}`);
    cell.setAttribute("aria-selected", this.selected.has(at));
    const active = position === this.desk.position;
    cell.tabIndex = active ? 0 : -1;
    if (active && this.wanted) { cell.focus({ preventScroll: true }); this.wanted = false; }
  }

  // Bring the picture at hand into sight and give it the keys.
  reveal(focus = true) {
    if (!this.measured) this.#measure();
    const top = Math.floor(this.desk.position / this.columns) * this.height;
    const { scrollTop, clientHeight } = this.scroll;
    if (top < scrollTop) this.scroll.scrollTop = top;
    const most = top + this.height - clientHeight; // else it ends below
    if (most > this.scroll.scrollTop) this.scroll.scrollTop = most;
    this.wanted = focus;
    this.redraw();
  }

  #click(event) {
    const cell = event.target.closest("[role=gridcell]");
    if (!cell) return;
    const twice = this.tapped?.cell === cell && event.timeStamp - this.tapped.time < DOUBLE;
    this.tapped = event.pointerType === "touch" ? { cell, time: event.timeStamp } : null;
    this.desk.position = Number(cell.dataset.position);
    if (event.shiftKey) this.#range();
    else this.toggle();
    if (twice) this.open(); // not every browser makes a double click of two taps
    else this.reveal();
  }

  toggle() {
    const { at } = this.desk;
    if (!this.selected.delete(at)) this.selected.add(at);
    this.anchor = this.desk.position;
  }

  #range() {
    const [from, to] = [this.anchor, this.desk.position].sort((a, b) => a - b);
    for (const at of this.desk.order.slice(from, to + 1)) this.selected.add(at);
  }

  all() {
    this.selected = new Set(this.desk.order);
    this.redraw();
  }

  // Keys of the grid; whether this was one.
  key(event) {
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / this.height)) * this.columns;
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
      PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity,
    };
    const step = steps[event.key];
    if (step === undefined) return false;
    if (event.shiftKey && !this.selected.size) this.anchor = this.desk.position;
    this.desk.move(step);
    if (event.shiftKey) this.#range();
    this.reveal();
    return true;
  }
}

const phrase = (...parts) => parts.filter(Boolean).join(" ");

// A picture that has left is not waited for.
function drop(row) {
  for (const image of row.querySelectorAll("img")) if (!image.complete) image.removeAttribute("src");
  row.remove();
}
