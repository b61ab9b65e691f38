// Filters with their counts, the progress, and whether everything is saved.

import { $, h, many, tell } from "./dom.js";
import { WORDS } from "./store.js";

const TYPING = 200; // ms without a key before a search is sent

export class Panel {
  constructor(desk, { refilter, counted }) {
    Object.assign(this, { desk, filter: desk.filter, refilter, counted, chips: [], asked: 0 });
    $("facets").replaceChildren(...this.filter.facets.map((facet) => this.#facet(facet)));
    $("sort").addEventListener("change", () => { this.filter.sort = $("sort").value; refilter(); });
    $("sure").addEventListener("input", () => { this.filter.most = Number($("sure").value); refilter(); });
    $("search").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.#search(), TYPING);
    });
    $("clear").addEventListener("click", () => {
      this.filter.clear();
      $("search").value = "";
      $("sure").value = 1;
      this.asked++;
      refilter();
    });
    $("show-filters").addEventListener("click", () => {
      const open = $("filters").classList.toggle("open");
      $("show-filters").setAttribute("aria-expanded", open);
    });
  }

  #facet(facet) {
    const buttons = facet.values.map((value) => {
      const count = h("span", { class: "count" });
      const words = facet.name === "label" ? value : named(facet.name, value);
      const press = () => {
        if (chip.getAttribute("aria-disabled") === "true") return;
        const chosen = this.filter.chosen.get(facet.name);
        if (!chosen.delete(value)) chosen.add(value);
        this.refilter();
      };
      const props = { class: "chip", "aria-pressed": "false", onclick: press };
      const chip = h("button", props, words, " ", count);
      this.chips.push({ facet: facet.name, value, chip, count });
      return chip;
    });
    return h("div", { role: "group", "aria-label": facet.title }, h("h3", {}, facet.title), ...buttons);
  }

  async #search() {
    const words = $("search").value.trim();
    const asked = ++this.asked;
    try {
      const response = words ? await fetch(`/api/search?words=${encodeURIComponent(words)}`) : null;
      if (asked !== this.asked) return; // a later search is under way
      this.filter.found = response ? new Set(await response.json()) : null;
      this.refilter();
    } catch { /* the alarm says that the server is gone */ }
  }

  draw() {
    const { order, counts } = this.filter.apply();
    for (const { facet, value, chip, count } of this.chips) {
      const left = counts.get(facet).get(value) ?? 0;
      const pressed = this.filter.chosen.get(facet).has(value);
      tell(count, String(left));
      chip.setAttribute("aria-pressed", pressed);
      chip.setAttribute("aria-disabled", !left && !pressed); // `disabled` would lose the focus
    }
    tell($("sure-said"), this.filter.most < 1 ? this.filter.most.toFixed(2) : "any");
    $("clear").disabled = !this.filter.active();
    const fresh = new Set(order);
    this.counted(this.desk.order.filter((at) => !fresh.has(at)).length);
    this.#progress();
  }

  #progress() {
    const { store, order } = this.desk;
    const done = store.reviewed();
    const pace = this.desk.pace();
    const left = order.filter((at) => !store.decisionOf(at)).length;
    const parts = [`${done} of ${store.count}`];
    if (pace) parts.push(`${Math.round(pace)} a minute`);
    const these = left === 1 ? "for this one" : `for these ${left}`;
    const which = this.filter.active() ? these : "left";
    if (pace && left) parts.push(`about ${time(left / pace)} ${which}`);
    tell($("progress"), parts.join(", "));
    $("bar").max = store.count;
    $("bar").value = done;
    document.title = `Review: ${done} of ${store.count}`;
  }
}

const named = (facet, value) => WORDS[`${facet} ${value}`] ?? WORDS[value] ?? value;

function time(minutes) {
  return minutes < 90 ? `${Math.max(1, Math.round(minutes))} min` : `${(minutes / 60).toFixed(1)} hours`;
}

const NAMED = 5; // refused decisions that are told one by one

// What is not on the server's disk yet, and why; what never will be.
export function showSaved({ unsaved, trouble, sent, refused }) {
  const lost = refused.length;
  $("saved").dataset.state = trouble || lost ? "trouble" : unsaved ? "busy" : "saved";
  const done = lost ? `${lost} not saved` : sent ? "all saved" : "";
  tell($("saved"), unsaved ? `${unsaved} not saved yet` : done);
  const are = unsaved === 1 ? "is" : "are";
  const kept = `${many(unsaved, "decision")} ${are} kept in this window and sent again; leave it open.`;
  const said = [trouble && `Attention: ${trouble}.`, trouble && unsaved && kept, lost && gone(refused)];
  $("alarm").hidden = !trouble && !lost;
  tell($("alarm"), said.filter(Boolean).join(" "));
}

function gone(refused) {
  const words = refused.length === 1 ? "no longer fits and was" : "no longer fit and were";
  const more = refused.length > NAMED ? `; and ${refused.length - NAMED} more` : "";
  const named = refused.slice(0, NAMED).join("; ");
  return `${many(refused.length, "decision")} ${words} not saved: ${named}${more}.`;
}

export function showBackground({ doing, done, total }) {
  const words = {
    thumbnails: `Looking for suspects: ${done} of ${total} pictures seen`,
    comparing: "Looking for suspects: comparing",
  };
  tell($("background"), words[doing] ?? "");
}
