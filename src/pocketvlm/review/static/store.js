// The list and what was decided: what the server has confirmed, and over it what this window has
// decided since. Pictures are known by their index in the list.

const OPEN = "open";
export const SUSPECTS = ["apart", "student", "looks"];

export class Store {
  constructor(board) {
    this.labels = Object.keys(board.labels);
    this.definitions = Object.values(board.labels);
    this.sha256 = board.sha256;
    this.status = board.status;
    this.teacher = board.label;
    this.confidence = board.confidence;
    this.count = board.sha256.length;
    this.places = new Map(board.sha256.map((sha256, at) => [sha256, at]));
    this.apart = new Set(board.apart);
    this.groups = new Map(Object.entries(board.groups).map(([at, first]) => [Number(at), first]));
    this.members = new Map();
    for (const [at, first] of this.groups) {
      this.members.set(first, [...(this.members.get(first) ?? []), at]);
    }
    this.suspects = { apart: new Set(), student: new Map(), looks: new Map() };
    this.confirmed = new Map();
    this.pending = new Map(); // index -> the last of this window's decisions that is not saved
    for (const row of board.decisions) this.confirm(row);
  }

  // A line of reviews.jsonl: [sha256, decision, label]; pictures of another list are passed over.
  confirm([sha256, decision, label]) {
    const at = this.places.get(sha256);
    if (at === undefined) return;
    if (decision === "undo") this.confirmed.delete(at);
    else this.confirmed.set(at, { decision, label });
  }

  // What counts for a picture: {decision, label}, or null.
  decisionOf(at) {
    const own = this.pending.get(at);
    if (own) return own.decision === "undo" ? null : own;
    return this.confirmed.get(at) ?? null;
  }

  teacherLabel(at) {
    return this.teacher[at] < 0 ? null : this.labels[this.teacher[at]];
  }

  // The label that stands now; null for rejected pictures and those without.
  labelOf(at) {
    const made = this.decisionOf(at);
    if (made?.decision === "reject") return null;
    return made?.label ?? this.teacherLabel(at);
  }

  twins(at) {
    const first = this.groups.get(at);
    return first === undefined ? [] : this.members.get(first).filter((other) => other !== at);
  }

  reviewed() {
    let count = 0;
    for (let at = 0; at < this.count; at++) if (this.decisionOf(at)) count++;
    return count;
  }
}

// Facets: within one any chosen value will do, between them all must hold.
export function facets(store) {
  const doubts = (at) => {
    const found = store.apart.has(at) ? ["apart"] : [];
    return store.groups.has(at) ? [...found, "twins"] : found;
  };
  const statuses = [...new Set(store.status)].sort();
  const several = statuses.length > 1 || statuses[0] !== "ok";
  return [
    { name: "decision", title: "Decision", values: [OPEN, "accept", "relabel", "reject"],
      of: (at) => [store.decisionOf(at)?.decision ?? OPEN] },
    { name: "label", title: "Label", values: store.labels,
      of: (at) => { const label = store.labelOf(at); return label ? [label] : []; } },
    { name: "doubt", title: "Doubts", values: ["apart", "twins"], of: doubts, all: true },
    { name: "suspect", title: "Suspects", values: SUSPECTS,
      of: (at) => SUSPECTS.filter((kind) => store.suspects[kind].has(at)) },
    { name: "status", title: "Teachers' status", values: several ? statuses : [],
      of: (at) => [store.status[at]] },
  ].filter((facet) => facet.values.length);
}

export const WORDS = {
  open: "not reviewed", accept: "accepted", relabel: "relabelled", reject: "rejected",
  undo: "taken back",
  apart: "teachers disagree", twins: "near-duplicates",
  "suspect apart": "duplicates differ", "suspect student": "student differs",
  "suspect looks": "looks otherwise", ok: "labelled", none: "no label fits",
  refused: "declined to answer", rejected: "outside the set", malformed: "unreadable answer",
  failed: "failed call",
};

// Why a picture has no label, in words.
export const withoutLabel = (status) => WORDS[status] ?? status;

// A decision in words.
export const decided = ({ decision, label }) => [WORDS[decision], label].filter(Boolean).join(": ");

export class Filter {
  constructor(store) {
    this.store = store;
    this.facets = facets(store);
    this.chosen = new Map(this.facets.map((facet) => [facet.name, new Set()]));
    this.most = 1;
    this.found = null; // indices that hold the words searched for
    this.sort = "doubt";
  }

  clear() {
    for (const set of this.chosen.values()) set.clear();
    this.most = 1;
    this.found = null;
  }

  active() {
    return this.most < 1 || this.found !== null || [...this.chosen.values()].some((set) => set.size);
  }

  // The matching pictures in order, and for each facet how many of each value the others leave.
  apply() {
    const order = [];
    const counts = new Map(this.facets.map((facet) => [facet.name, new Map()]));
    for (let at = 0; at < this.store.count; at++) this.#take(at, order, counts);
    const weight = (at) => this.store.confidence[at] ?? -1;
    const { groups, suspects } = this.store;
    if (this.chosen.get("doubt").has("twins")) order.sort((a, b) => groups.get(a) - groups.get(b) || a - b);
    else if (this.chosen.get("suspect").has("looks")) { // the most contradicted first
      const against = (at) => suspects.looks.get(at)?.[1] ?? 0;
      order.sort((a, b) => against(b) - against(a) || a - b);
    } else if (this.sort === "doubt") order.sort((a, b) => weight(a) - weight(b) || a - b);
    return { order, counts };
  }

  #take(at, order, counts) {
    if ((this.store.confidence[at] ?? 0) > this.most) return;
    if (this.found && !this.found.has(at)) return;
    const has = this.facets.map((facet) => facet.of(at));
    const failed = this.facets.filter((facet, one) => !this.#holds(facet, has[one]));
    if (!failed.length) order.push(at);
    if (failed.length > 1) return;
    this.facets.forEach((facet, one) => {
      if (failed.length && failed[0] !== facet) return;
      const count = counts.get(facet.name);
      for (const value of has[one]) count.set(value, (count.get(value) ?? 0) + 1);
    });
  }

  #holds(facet, values) {
    const wanted = this.chosen.get(facet.name);
    if (!wanted.size) return true;
    const is = (one) => values.includes(one);
    return facet.all ? [...wanted].every(is) : [...wanted].some(is);
  }
}
