// Decisions leave at once and in order, and stay here until the server has them on its disk. The
// same exchange brings what other windows and programs decided.

import { decided } from "./store.js";

const BATCH = 200;
const QUIET = 1000; // ms between exchanges when there is nothing to send
const CHANGED = "pictures or labels are others since the server was started anew: reload this page";
const PATIENCE = 10000; // ms for one exchange

export class Sync {
  constructor(store, board, { changed, state }) {
    this.store = store;
    this.board = board.board;
    this.since = board.since;
    this.changed = changed; // called with the indices that somebody else decided
    this.state = state; // called with what is unsaved, what is wrong and what was refused
    this.edition = board.edition;
    this.window = crypto.randomUUID();
    this.sent = 0;
    this.trouble = null;
    this.outbox = [];
    this.refused = []; // decisions that no longer fit, in words
    this.keep = `pocketvlm-unsaved-${this.board}`; // survives a reload of this tab
    this.push(this.#kept());
    this.#remember(); // what no longer fits is told once
    window.addEventListener("beforeunload", (event) => {
      if (this.outbox.length) event.preventDefault();
    });
    this.#run();
  }

  // Decisions: [{at, decision, label}], in order.
  push(decisions) {
    if (!decisions.length) return;
    for (const one of decisions) this.store.pending.set(one.at, one);
    this.outbox.push(...decisions);
    this.#remember();
    this.#wake?.();
  }

  #wake = null;

  async #run() {
    for (;;) {
      const batch = this.outbox.slice(0, BATCH);
      try {
        const reply = await this.#exchange(batch);
        this.#take(batch, reply);
        this.#say(reply.edition === this.edition ? null : new Error(CHANGED));
        if (this.outbox.length) continue;
      } catch (error) {
        this.#say(error);
      }
      await this.#pause(this.trouble);
    }
  }

  async #exchange(batch) {
    const decisions = batch.map((one) => {
      const [picture, decision, label] = this.#line(one);
      return { picture, decision, label };
    });
    let response;
    try {
      response = await fetch("/api/exchange", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({
          board: this.board, window: this.window, first: this.sent, since: this.since, decisions,
        }),
        signal: AbortSignal.timeout(PATIENCE),
      });
    } catch {
      throw new Error("the server does not answer: start `pocketvlm review` again");
    }
    if (response.ok) return response.json();
    if (response.status === 403) {
      throw new Error("the server was started anew: open in another tab the address that it printed");
    }
    const said = await response.json().catch(() => ({}));
    throw new Error(typeof said.detail === "string" ? said.detail : `the server says ${response.status}`);
  }

  #take(batch, { since, from, decisions, refused }) {
    this.sent += batch.length;
    this.outbox.splice(0, batch.length);
    for (const [number, why] of refused) this.#refuse(batch[number], why);
    const anew = from === 0 && this.since > 0; // the file was deleted or became shorter
    this.since = since;
    const others = this.#confirm(batch, decisions, anew);
    const open = new Set(this.outbox.map((one) => one.at));
    for (const { at } of batch) if (!open.has(at)) this.store.pending.delete(at);
    if (batch.length) this.#remember();
    if (others.size || refused.length || anew) this.changed(others);
  }

  // Take over what the server has; the indices of what somebody else changed.
  #confirm(batch, decisions, anew) {
    const { confirmed } = this.store;
    const before = new Map(confirmed);
    const touched = new Set(anew ? before.keys() : []);
    if (anew) confirmed.clear();
    const own = batch.map((one) => JSON.stringify(this.#line(one)));
    for (const row of decisions) {
      this.store.confirm(row);
      const mine = own.indexOf(JSON.stringify(row));
      if (mine >= 0) own.splice(mine, 1);
      else touched.add(this.store.places.get(row[0]));
    }
    const other = (at) => JSON.stringify(before.get(at)) !== JSON.stringify(confirmed.get(at));
    return new Set([...touched].filter(other));
  }

  #refuse(made, why) {
    this.refused.push(`${decided(made)}, ${why}`);
  }

  #say(error) {
    this.trouble = error;
    this.#tell();
  }

  #tell() {
    const { sent, refused } = this;
    this.state({ unsaved: this.outbox.length, trouble: this.trouble?.message ?? null, sent, refused });
  }

  // Until something is to be sent, or the time for a look has come.
  #pause(failed) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, QUIET);
      this.#wake = failed ? null : () => { clearTimeout(timer); resolve(); };
    });
  }

  #remember() {
    const unsaved = this.outbox.map((one) => this.#line(one));
    try {
      if (unsaved.length) sessionStorage.setItem(this.keep, JSON.stringify(unsaved));
      else sessionStorage.removeItem(this.keep);
    } catch { /* a full or forbidden storage costs only this second safety */ }
    this.#tell();
  }

  #line({ at, decision, label }) {
    return [this.store.sha256[at], decision, label];
  }

  #known(label) {
    return label === null || this.store.labels.includes(label);
  }

  #kept() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.keep) ?? "[]");
      const fits = ([sha256, , label]) => this.store.places.has(sha256) && this.#known(label);
      for (const [sha256, decision, label] of kept.filter((one) => !fits(one))) {
        this.#refuse({ decision, label }, `picture ${sha256.slice(0, 12)} or this label is not in the list any more`);
      }
      return kept.filter(fits)
        .map(([sha256, decision, label]) => ({ at: this.store.places.get(sha256), decision, label }));
    } catch {
      return [];
    }
  }
}
