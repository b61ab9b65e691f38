// Pictures and opinions of what comes next, fetched and decoded before anybody asks.

import { h } from "./dom.js";

const KEPT = 24; // pictures with their opinions

export class Cache {
  constructor(store, contract) {
    this.store = store;
    this.contract = contract;
    this.entries = new Map();
  }

  // The elements of one picture; the same ones every time, so that they are decoded once.
  get(at) {
    const known = this.entries.get(at);
    if (known) {
      this.entries.delete(at); // the last used is the last to go
      this.entries.set(at, known);
      return known;
    }
    const sha256 = this.store.sha256[at];
    const entry = {
      phone: this.#image(at, `/picture/phone/${sha256}?contract=${this.contract}`, "What the phone sees"),
      photo: this.#image(at, `/picture/photo/${sha256}`, "The photograph"),
      details: null,
    };
    entry.loaded = this.#details(at, sha256, entry);
    this.entries.set(at, entry);
    for (const old of this.entries.keys()) {
      if (this.entries.size <= KEPT) break;
      this.entries.delete(old);
    }
    return entry;
  }

  ahead(places) {
    for (const at of places) this.get(at);
  }

  #image(at, src, alt) {
    const image = h("img", { src, alt, decoding: "async", draggable: "false" });
    image.decode().then(
      () => image.classList.add("ready"),
      () => {
        this.entries.delete(at); // asked for again the next time
        image.replaceWith(h("p", { class: "soft" }, "This picture cannot be shown."));
      },
    );
    return image;
  }

  async #details(at, sha256, entry) {
    try {
      const response = await fetch(`/api/picture/${sha256}`);
      if (!response.ok) throw new Error();
      entry.details = await response.json();
    } catch {
      this.entries.delete(at);
    }
    return entry;
  }
}
