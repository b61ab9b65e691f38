// The page: brings the parts together and hands the keys out.

import { Cache } from "./cache.js";
import { Desk } from "./desk.js";
import { $, h, many, once, tell } from "./dom.js";
import { Panel, showBackground, showSaved } from "./panel.js";
import { Sheet } from "./sheet.js";
import { Filter, Store, WORDS, decided, withoutLabel } from "./store.js";
import { Sync } from "./sync.js";
import { Work } from "./work.js";

const KEYS = [
  ["1 to 9", "give this label"], ["space or a", "accept the teacher's label"], ["x", "reject the picture"],
  ["u", "undo, as often as you like"], ["right or j", "next"], ["left or k", "previous"],
  ["c", "contact sheet and back"], ["/", "search"], ["r", "apply the filters again"],
  ["f", "filters"], ["?", "this list"],
  ["in the sheet", "arrows move, space selects, shift extends, Ctrl-A selects all"],
  ["", "Enter opens, Escape lets go"],
];

const MOVES = ["j", "k", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown"];

async function main() {
  history.replaceState(null, "", "/"); // the token stays out of the address
  const response = await fetch("/api/board");
  if (!response.ok) throw new Error((await response.json()).detail);
  const board = await response.json();
  const store = new Store(board);
  const filter = new Filter(store);
  const page = new Page(board, store, filter);
  page.start();
}

class Page {
  constructor(board, store, filter) {
    this.board = board;
    this.store = store;
    this.draw = once(() => this.#draw());
    this.sync = new Sync(store, board, {
      changed: (others) => this.#elsewhere(others),
      state: (state) => this.#state(state),
    });
    this.desk = new Desk(store, filter, this.sync);
    this.cache = new Cache(store, board.contract);
    this.work = new Work(this.desk, this.cache, board.side, this.draw);
    this.sheet = new Sheet(this.desk, { open: () => this.#view(false), redraw: this.draw });
    this.panel = new Panel(this.desk, {
      refilter: () => this.#refilter(),
      counted: (gone) => this.#gone(gone),
    });
    this.counts = later(() => this.panel.draw());
    this.digit = "";
  }

  start() {
    this.#toolbar();
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("click", (event) => { // after the mouse, the keys are the picture's
      if (event.detail && event.target.closest("button") && !$("help").open) this.#rest();
    });
    $("to-sheet").addEventListener("click", () => this.#view($("sheet").hidden));
    $("to-help").addEventListener("click", () => $("help").showModal());
    $("help").querySelector("tbody").append(...KEYS.map(([key, what]) => (
      h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, what))
    )));
    this.panel.draw();
    this.draw();
    this.#suspects();
    setInterval(this.counts, 15000); // the pace goes on when nobody decides
    document.body.dataset.ready = "yes";
  }

  get inSheet() {
    return !$("sheet").hidden;
  }

  #draw() {
    if (this.inSheet) this.sheet.draw();
    else this.work.draw();
    const at = this.desk.at;
    const label = at === undefined ? null : this.store.labelOf(at);
    const made = at === undefined ? null : this.store.decisionOf(at);
    for (const [button, name] of this.buttons) {
      button.setAttribute("aria-pressed", Boolean(made) && label === name);
      button.classList.toggle("stands", label === name);
    }
  }

  #toolbar() {
    const { labels, definitions } = this.store;
    this.buttons = labels.map((label, number) => {
      const key = labels.length > 9 ? String(number + 1).padStart(2, "0") : String(number + 1);
      const give = () => this.#decide("relabel", label);
      const props = { class: "label", title: definitions[number], onclick: give };
      return [h("button", props, h("kbd", {}, key), " ", label), label];
    });
    const verb = (key, words, act, name) => (
      h("button", { class: name, onclick: act }, h("kbd", {}, key), " ", words)
    );
    $("decide").replaceChildren(
      h("div", { class: "labels" }, ...this.buttons.map(([button]) => button)),
      h("div", { class: "verbs" },
        verb("\u2190", "back", () => this.#move(-1), "step"),
        verb("space", "accept", () => this.#decide("accept", null), "accept"),
        verb("x", "reject", () => this.#decide("reject", null), "reject"),
        verb("u", "undo", () => this.#undo(), "undo"),
        verb("\u2192", "next", () => this.#move(1), "step")));
  }

  #rest() {
    if (this.inSheet) this.sheet.reveal();
    else document.querySelector("main").focus({ preventScroll: true });
  }

  #decide(decision, label) {
    const single = !this.inSheet || !this.sheet.selected.size;
    const targets = this.inSheet ? this.sheet.targets() : this.desk.order.length ? [this.desk.at] : [];
    const before = this.desk.history.length;
    const said = this.desk.decide(decision, label, targets);
    const done = this.desk.history.length > before;
    this.sheet.selected.clear();
    this.work.notice = "";
    const moved = single && done && this.desk.move(1);
    if (single && done && !moved) this.work.notice = "This was the last picture of the list.";
    if (!done) this.work.notice = said;
    tell($("live"), `${said}. ${moved && !this.inSheet ? this.#describe() : ""}`);
    if (this.inSheet && moved) this.sheet.reveal();
    this.draw();
    this.counts();
  }

  #describe() {
    const at = this.desk.at;
    return `Next: ${this.store.labelOf(at) ?? withoutLabel(this.store.status[at])}`;
  }

  #undo() {
    const said = this.desk.undo();
    this.work.notice = "";
    tell($("live"), said);
    this.work.notice = said;
    if (this.inSheet) { this.sheet.reset(); this.sheet.reveal(); }
    this.draw();
    this.counts();
  }

  #move(step) {
    this.work.notice = "";
    if (this.desk.move(step)) {
      tell($("live"), `${this.desk.position + 1} of ${this.desk.order.length}. ${this.#describe()}`);
    }
    if (this.inSheet) this.sheet.reveal();
    this.draw();
  }

  #refilter() {
    this.desk.refresh();
    this.sheet.reset();
    this.scrollBack();
    this.work.notice = "";
    this.panel.draw();
    tell($("live"), many(this.desk.order.length, "picture"));
    this.draw();
  }

  scrollBack() {
    if (this.inSheet) this.sheet.reveal(false);
  }

  #view(sheet) {
    $("sheet").hidden = !sheet;
    $("work").hidden = sheet;
    document.body.classList.toggle("sheet", sheet);
    tell($("decide").querySelector(".accept kbd"), sheet ? "a" : "space");
    tell($("to-sheet").firstChild, sheet ? "One picture" : "Contact sheet");
    this.sheet.reset();
    if (sheet) this.sheet.reveal();
    else document.querySelector("main").focus({ preventScroll: true });
    this.draw();
  }

  #gone(count) {
    const stale = count ? `; ${count} of them no longer match, r leaves them out` : "";
    $("place").dataset.stale = stale;
  }

  #elsewhere(others) {
    if (others.has(this.desk.at)) {
      const made = this.store.decisionOf(this.desk.at);
      const what = made ? decided(made) : WORDS.undo;
      this.work.notice = `Just decided elsewhere: ${what}.`;
      tell($("live"), this.work.notice);
    }
    this.draw();
    this.counts();
  }

  #state(state) {
    const back = this.trouble && !state.trouble;
    this.trouble = state.trouble;
    showSaved(state);
    if (!back) return;
    this.sheet.measured = false; // pictures that could not be fetched are asked for again
    this.draw();
  }

  async #suspects() {
    for (;;) {
      try {
        const found = await (await fetch("/api/suspects")).json();
        this.store.suspects = {
          apart: new Set(found.apart),
          student: new Map(Object.entries(found.student).map(([at, said]) => [Number(at), said])),
          looks: new Map(Object.entries(found.looks).map(([at, said]) => [Number(at), said])),
        };
        showBackground(found.progress);
        this.draw();
        this.counts();
        if (found.progress.doing === "done") return;
      } catch { /* the alarm says that the server is gone */ }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  #key(event) {
    const { target } = event;
    if (event.altKey || $("help").open) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "a" && this.inSheet && !typing(target)) { event.preventDefault(); this.sheet.all(); }
      return;
    }
    if (typing(target)) {
      if (["Escape", "Enter"].includes(event.key) && target.id === "search") this.#rest();
      return;
    }
    if ([" ", "Enter"].includes(event.key) && target.closest("button")) return; // the button's own
    if (event.repeat && !MOVES.includes(event.key)) return; // a key held down decides once
    if (this.#act(event)) event.preventDefault();
  }

  // Whether the key meant something.
  #act(event) {
    if (/^[0-9]$/.test(event.key)) return this.#label(event.key);
    if (this.digit) this.work.notice = this.digit = "";
    if (this.inSheet && this.sheet.key(event)) return true;
    const acts = {
      a: () => this.#decide("accept", null),
      x: () => this.#decide("reject", null),
      u: () => this.#undo(),
      j: () => this.#move(1), ArrowRight: () => this.#move(1),
      k: () => this.#move(-1), ArrowLeft: () => this.#move(-1),
      c: () => this.#view(!this.inSheet),
      r: () => this.#refilter(),
      "/": () => { openFilters(); $("search").focus(); $("search").select(); },
      f: () => { openFilters(); $("filters").querySelector("button").focus(); },
      "?": () => $("help").showModal(),
      " ": () => (this.inSheet ? this.#select() : this.#decide("accept", null)),
      Enter: () => this.inSheet && this.#view(false),
      Escape: () => (this.inSheet ? this.#escape() : this.draw()),
    };
    const act = acts[event.key];
    act?.();
    return Boolean(act);
  }

  // With more than nine labels a label takes two digits.
  #label(key) {
    const { labels } = this.store;
    this.digit += key;
    if (labels.length > 9 && this.digit.length < 2) {
      tell($("live"), `${this.digit}, and a second digit`);
      this.work.notice = `${this.digit}_`;
      this.draw();
      return true;
    }
    const label = labels[Number(this.digit) - 1];
    this.digit = "";
    if (label) this.#decide("relabel", label);
    else this.work.notice = "";
    return true;
  }

  #select() {
    if (!this.desk.order.length) return;
    this.sheet.toggle();
    tell($("live"), `${this.sheet.selected.size} selected`);
    this.draw();
  }

  #escape() {
    if (this.sheet.selected.size) this.sheet.selected.clear();
    else this.#view(false);
    this.draw();
  }
}

function openFilters() {
  if (!$("filters").checkVisibility()) $("show-filters").click();
}

function typing(target) {
  return target.matches("input:not([type=range]), select, textarea");
}

// Counting goes over the whole list: after the last key of a burst, not after each.
function later(work) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, 120);
  };
}

main().catch((error) => {
  $("alarm").hidden = false;
  tell($("alarm"), `The list cannot be loaded: ${error.message}`);
});
