// One picture: what the phone sees beside the photograph, and all that the teachers said of it.

import { $, h, percent, tell, thumbnail } from "./dom.js";
import { WORDS, withoutLabel } from "./store.js";

const AHEAD = 8;
const BEHIND = 2;
const STACKED = "(max-width: 74rem)"; // as in review.css: one view above the other
const LARGEST = 512; // CSS pixels of the phone's view

export class Work {
  constructor(desk, cache, side, redraw) {
    Object.assign(this, { desk, cache, side, redraw, shown: null, notice: "" });
    new ResizeObserver(() => this.#scale()).observe($("views"));
  }

  draw() {
    const { desk } = this;
    const nothing = desk.order.length === 0;
    $("views").hidden = $("verdict").hidden = nothing;
    $("nothing").hidden = !nothing;
    tell($("nothing"), nothing ? "No picture matches these filters." : "");
    if (nothing) return;
    const at = desk.at;
    const entry = this.cache.get(at);
    if (this.shown !== entry) this.#change(at, entry);
    this.#head(at);
    const { order, position } = desk;
    this.cache.ahead(order.slice(position + 1, position + 1 + AHEAD));
    this.cache.ahead(order.slice(Math.max(0, position - BEHIND), position));
    this.cache.get(at); // never the one to go
  }

  #change(at, entry) {
    this.shown = entry;
    $("phone").querySelector(".frame").replaceChildren(entry.phone);
    $("photo").querySelector(".frame").replaceChildren(entry.photo);
    this.#scale();
    this.#opinions(entry);
    if (!entry.details) entry.loaded.then(() => this.shown === entry && this.#opinions(entry));
    this.#twins(at);
    document.querySelector("main").scrollTop = 0;
  }

  // Whole device pixels only: every pixel of the phone's bitmap stays a square.
  #scale() {
    const frame = $("phone").querySelector(".frame");
    const image = frame.querySelector("img");
    if (!image) return;
    const share = matchMedia(STACKED).matches ? 1 : 0.47;
    const room = Math.min(LARGEST, $("views").clientWidth * share, window.innerHeight * 0.7);
    const ratio = window.devicePixelRatio;
    const whole = (this.side * Math.floor((room * ratio) / this.side)) / ratio;
    image.style.width = `${whole || room}px`;
  }

  #head(at) {
    const { store, order, position } = this.desk;
    tell($("place"), `${position + 1} of ${order.length}`);
    const made = store.decisionOf(at);
    const teacher = store.teacherLabel(at) ?? withoutLabel(store.status[at]);
    const own = made?.decision === "relabel"; // of which no teacher was sure
    const sure = own || store.confidence[at] === null ? "" : ` ${store.confidence[at].toFixed(2)}`;
    $("said").replaceChildren(
      own
        ? h("span", {}, h("s", {}, teacher), ` ${made.label}`)
        : h("span", {}, teacher),
      h("small", { class: "soft" }, sure),
      made ? h("span", { class: `chip ${made.decision}` }, WORDS[made.decision]) : "",
    );
    $("notice").hidden = !this.notice;
    tell($("notice"), this.notice);
    $("doubts").replaceChildren(...this.#doubts(at).map((line) => h("li", {}, line)));
  }

  #doubts(at) {
    const { store } = this.desk;
    const found = [];
    if (store.apart.has(at)) found.push("The teachers disagree.");
    const looks = store.suspects.looks.get(at);
    if (looks) found.push(`Colours and textures look more like ${looks[0]} (${percent(looks[1])}).`);
    const student = store.suspects.student.get(at);
    if (student) found.push(`The student answered ${student}.`);
    if (store.suspects.apart.has(at)) found.push("A near-duplicate has another label.");
    return found;
  }

  #twins(at) {
    const twins = this.desk.store.twins(at);
    $("twins").hidden = !twins.length;
    $("twins").replaceChildren(h("h3", {}, "Near-duplicates"), ...twins.slice(0, 12).map((other) => {
      const label = this.desk.store.labelOf(other) ?? "no label";
      const image = thumbnail(this.desk.store.sha256[other]);
      const open = () => { this.desk.show(other); this.redraw(); };
      return h("button", { onclick: open, "aria-label": `Near-duplicate, ${label}` }, image, label);
    }));
  }

  #opinions(entry) {
    const { details } = entry;
    if (!details) return $("opinions").replaceChildren();
    const stands = details.opinions.length > 1 ? details.stands : -1;
    const cards = details.opinions.map((one, number) => card(one, number === stands));
    const size = `, ${details.width} x ${details.height} pixels`;
    const origin = h("p", { class: "soft origin" }, h("bdi", {}, details.origin), size);
    $("opinions").replaceChildren(...cards, origin);
  }
}

function card(one, stands) {
  const sure = one.confidence === undefined ? "" : one.confidence.toFixed(2);
  const outside = one.status === "rejected" && one.label ? `: ${one.label}` : "";
  const label = one.status === "ok" ? one.label : withoutLabel(one.status) + outside;
  const who = one.repeat ? `${one.model}, asked again` : one.model;
  const rows = [
    ["Features", one.visual_features?.join("; ")], ["Colours", colours(one.colours)],
    ["Texture", one.texture], ["Instead", one.alternative], ["Unclear", one.ambiguity],
    ["Error", one.error], ["Answer", one.raw],
  ].filter(([, value]) => value);
  return h("article", { class: stands ? "opinion stands" : "opinion" },
    h("h3", {}, h("strong", {}, label), ` ${sure} `, h("span", { class: "soft" }, who ?? "")),
    one.reason ? h("p", {}, one.reason) : null,
    h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

// A spot before each colour that the browser knows by that name.
function colours(names) {
  if (!names?.length) return null;
  return h("span", {}, ...names.map((name) => {
    const spot = h("i", { class: "spot", "aria-hidden": "true" });
    spot.style.backgroundColor = String(name).replaceAll(" ", "");
    return h("span", { class: "colour" }, spot.style.backgroundColor ? spot : null, name);
  }));
}
