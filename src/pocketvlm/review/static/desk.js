// Where the person is and what was decided here: the list as it was when the filter was set, so that
// nothing moves under the eyes, the position in it, and every decision of this window for undo.

import { WORDS, decided } from "./store.js";

const RECENT = 5 * 60 * 1000; // ms over which the pace is measured
const FEW = 4; // decisions before a pace is told

export class Desk {
  constructor(store, filter, sync) {
    Object.assign(this, { store, filter, sync, history: [], times: [] });
    this.refresh();
    this.position = Math.max(0, this.order.findIndex((at) => !store.decisionOf(at)));
  }

  get at() {
    return this.order[this.position];
  }

  // Apply the filter anew; the picture at hand stays at hand where it still belongs.
  refresh() {
    const before = this.order?.[this.position];
    this.order = this.filter.apply().order;
    const place = this.order.indexOf(before);
    this.position = Math.max(0, place);
  }

  move(step) {
    const to = Math.min(this.order.length - 1, Math.max(0, this.position + step));
    const moved = to !== this.position;
    this.position = Math.max(0, to);
    return moved;
  }

  // Bring a picture to hand, also one that the filter leaves out.
  show(at) {
    const place = this.order.indexOf(at);
    if (place >= 0) this.position = place;
    else this.order.splice(this.position, 0, at);
  }

  // Decide on some pictures; what was done, in words.
  decide(decision, label, targets) {
    const made = [];
    for (const at of targets) {
      const one = this.#decision(at, decision, label);
      if (one) made.push({ ...one, before: stands(this.store.decisionOf(at)) });
    }
    if (!made.length) return targets.length ? "There is no label to accept: give one." : "";
    this.history.push(made);
    this.times.push(Date.now()); // one, of however many pictures
    this.sync.push(made.map(({ at, decision, label }) => ({ at, decision, label })));
    const said = made[0].label ? `${made[0].label}, ${WORDS[made[0].decision]}` : WORDS[decision];
    const skipped = targets.length - made.length;
    const what = decision === "accept" ? WORDS.accept : said;
    const many = made.length > 1 ? `${made.length} pictures ${what}` : said;
    return skipped ? `${many}; ${skipped} without a label left out` : many;
  }

  #decision(at, decision, label) {
    const teacher = this.store.teacherLabel(at);
    if (decision === "reject") return { at, decision, label: null };
    if (decision === "accept") return teacher && { at, decision, label: teacher };
    return { at, decision: label === teacher ? "accept" : "relabel", label };
  }

  // Take the last decision of this window back, unless somebody decided otherwise since.
  undo() {
    const made = this.history.pop();
    if (!made) return this.#undoEarlier();
    const still = made.filter((one) => {
      const now = this.store.decisionOf(one.at);
      return now && now.decision === one.decision && now.label === one.label;
    });
    this.times.pop();
    const known = (before) => before && (!before.label || this.store.labels.includes(before.label));
    this.sync.push(still.map(({ at, before }) => (
      known(before) ? { at, ...before } : { at, decision: "undo", label: null }
    )));
    this.show(made[0].at);
    const kept = made.length - still.length;
    const said = still.length === 1 ? "Undone." : `${still.length} decisions undone.`;
    return kept ? `${said} ${kept} decided elsewhere since, left as it is.` : said;
  }

  // What was decided before this page was loaded is taken back for the picture at hand alone.
  #undoEarlier() {
    const { at } = this;
    const made = at === undefined ? null : this.store.decisionOf(at);
    if (!made) return "Nothing to undo.";
    this.sync.push([{ at, decision: "undo", label: null }]);
    return `Undone: ${decided(made)}.`;
  }

  // Decisions a minute, lately; null before there are a few.
  pace() {
    const now = Date.now();
    this.times = this.times.filter((time) => now - time < RECENT);
    if (this.times.length < FEW) return null;
    return (this.times.length / Math.max(now - this.times[0], 1000)) * 60000;
  }
}

// Of a decision what is sent again when a later one is undone.
function stands(made) {
  return made && { decision: made.decision, label: made.label };
}
