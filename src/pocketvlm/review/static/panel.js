// Filters with their counts, the progress, and whether everything is saved.

import { $, h, tell } from "./dom.js";
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
      tell(count, String(counts.get(facet).get(value) ?? 0));
      chip.setAttribute("aria-pressed", this.filter.chosen.get(facet).has(value));
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
    if (pace && left) parts.push(`about ${time(left / pace)} left`);
    tell($("progress"), parts.join(", "));
    $("bar").max = store.count;
    $("bar").value = done;
    document.title = `Review: ${done} of ${store.count}`;
  }
}

const named = (facet, value) => WORDS[`${facet} ${value}`] ?? WORDS[value] ?? value;

function time(minutes) {
  if (minutes < 1) return "a minute";
  return minutes < 90 ? `${Math.round(minutes)} min` : `${(minutes / 60).toFixed(1)} hours`;
}

// What is not on the server's disk yet, and why.
export function showSaved({ unsaved, trouble, sent }) {
  $("saved").dataset.state = trouble ? "trouble" : unsaved ? "busy" : "saved";
  tell($("saved"), unsaved ? `${unsaved} not saved yet` : sent ? "all saved" : "");
  $("alarm").hidden = !trouble;
  const many = unsaved > 1 ? `${unsaved} decisions are` : "1 decision is";
  const kept = unsaved ? `${many} kept in this window and sent again; leave it open.` : "";
  tell($("alarm"), trouble ? `Attention: ${trouble}. ${kept}` : "");
}

export function showBackground({ doing, done, total }) {
  const words = {
    thumbnails: `Looking for suspects: ${done} of ${total} pictures seen`,
    comparing: "Looking for suspects: comparing",
  };
  tell($("background"), words[doing] ?? "");
}
