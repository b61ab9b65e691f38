// Elements made of data: text is only ever set as text, whoever wrote it.

export const $ = (id) => document.getElementById(id);

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Set only what differs: a text that is read aloud is not read twice.
export function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A small copy of a picture, or words where it cannot be shown.
export function thumbnail(sha256) {
  const src = `/picture/thumbnail/${sha256}`;
  const image = h("img", { src, alt: "", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => {
    image.replaceWith(h("span", { class: "broken" }, "This picture cannot be shown."));
  });
  return image;
}

export const many = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

export const percent = (share) => `${Math.round(share * 100)}%`;

// Everything that is asked for within one frame is drawn once.
export function once(draw) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      draw();
    });
  };
}
