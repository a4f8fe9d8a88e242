// Builds what is shown. Whatever a person, a document or a model wrote becomes text nodes: nothing here reads markup,
// and no address of theirs becomes a picture or, save for a source's own http(s) page, a link.
const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  chat: ["M21 12a8 8 0 0 1-8 8H4l1.6-3.2A8 8 0 1 1 21 12Z", "M9 10.5h7", "M9 14h4.5"],
  down: ["m6 9 6 6 6-6"],
  close: ["M6 6l12 12", "M18 6 6 18"],
  fresh: ["M12 5v14", "M5 12h14"],
  past: ["M12 7v5l3 2", "M3.5 12a8.5 8.5 0 1 0 2.6-6.1L3.5 8.3", "M3.5 3.8v4.5H8"],
  back: ["m14 6-6 6 6 6"],
  send: ["M12 19V5", "m6 11 6-6 6 6"],
  stop: ["M8 8h8v8H8Z"],
  person: ["M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Z", "M4.5 20a7.5 7.5 0 0 1 15 0"],
  good: ["M7 11v9H4v-9h3Z", "M7 11l4-8c1.6 0 2.5 1 2.5 2.5V9h5a2 2 0 0 1 2 2.3l-1.2 7a2 2 0 0 1-2 1.7H7"],
  bad: ["M17 13V4h3v9h-3Z", "M17 13l-4 8c-1.6 0-2.5-1-2.5-2.5V15h-5a2 2 0 0 1-2-2.3l1.2-7a2 2 0 0 1 2-1.7H17"],
  copy: ["M9 9h11v11H9Z", "M5 15H4V4h11v1"],
  retry: ["M20 5v5h-5", "M19.5 10A8 8 0 1 0 20 14"],
};

// An element: attributes by name, `on…` as listeners, false and null left out, strings as text.
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
};

const icon = (name) => {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const line of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", line);
    svg.append(path);
  }
  return svg;
};

const iconButton = (name, label, onclick, kind = "") =>
  make("button", { type: "button", class: `icon ${kind}`, "aria-label": label, title: label, onclick }, icon(name));

const INLINE = /`([^`\n]{1,200})`|\*\*([^*\n]{1,200})\*\*|\[(\d{1,2})\]/g;
const ITEM = /^\s{0,6}(?:[-*•]|(\d{1,3})[.)])\s+(.*)$/;

const inline = (into, text, cite) => {
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    const [all, code, bold, number] = found;
    const shown = code ? make("code", {}, code) : bold ? make("strong", {}, bold) : cite?.(Number(number));
    into.append(text.slice(from, found.index), shown ?? all);
    from = found.index + all.length;
  }
  into.append(text.slice(from));
};

// Paragraphs, lists, code, bold; `cite` turns a citation's number into a node, or null where there is none.
const prose = (text, cite) => {
  const made = document.createDocumentFragment();
  let open = null;
  let fence = null;
  for (const line of text.trim().split(/\r\n|[\n\r\v\f\u0085\u2028\u2029]/)) {
    const item = ITEM.exec(line);
    if (/^\s*```/.test(line)) {
      fence = fence ? null : make("code");
      if (fence) made.append(make("pre", { tabindex: "0" }, fence));
      open = null;
    } else if (fence) {
      fence.append(`${line}\n`);
    } else if (!line.trim()) {
      open = null;
    } else if (item) {
      const kind = item[1] ? "OL" : "UL";
      if (open?.tagName !== kind) {
        open = make(kind, item[1] ? { start: item[1] } : {});
        made.append(open);
      }
      const entry = make("li");
      inline(entry, item[2], cite);
      open.append(entry);
    } else {
      if (open?.tagName === "P") open.append(make("br"));
      else made.append((open = make("p", { dir: "auto" })));
      inline(open, line, cite);
    }
  }
  return made;
};

// Colours (WCAG 2.2, relative luminance and contrast ratio: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};
const BLACK = [0, 0, 0];
const WHITE = [255, 255, 255];
const css = (rgb) => `rgb(${rgb.map(Math.round).join(" ")})`;

// Any colour that CSS writes as rgb(); null for what it does not know.
const colour = (value, probe) => {
  probe.style.color = "";
  probe.style.color = value;
  const parts = probe.style.color && getComputedStyle(probe).color.match(/^rgba?\((\d+), (\d+), (\d+)/);
  probe.style.color = "";
  return parts ? parts.slice(1).map(Number) : null;
};

// Black or white, whichever is easier to read on a colour: at least 4.5 to 1 on any.
const readableOn = (ground) =>
  contrast(ground, WHITE) >= 4.5 || contrast(ground, WHITE) > contrast(ground, BLACK) ? WHITE : BLACK;

// The colour, moved towards black or white until it can be read as text on a ground.
const readableAs = (wanted, ground) => {
  const goal = readableOn(ground);
  for (let share = 0; share < 1; share += 0.1) {
    const mixed = wanted.map((part, at) => part + (goal[at] - part) * share);
    if (contrast(mixed, ground) >= 4.5) return mixed;
  }
  return goal;
};

// The three colours that are made of an owner's: itself, words on it, and it as words on the panel.
const GROUNDS = { light: [255, 255, 255], dark: [22, 27, 38] }; // widget.css: --ground
const ACCENT = [15, 118, 110];
const shadesOf = (wanted, theme, probe) => {
  const accent = wanted.map((value) => colour(value || "", probe)).find(Boolean) ?? ACCENT;
  return { accent, "on-accent": readableOn(accent), "accent-text": readableAs(accent, GROUNDS[theme]) };
};

// A source's own page, or null: http(s) only.
const pageOf = (uri) => {
  try {
    const url = new URL(uri);
    return /^https?:$/.test(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
};
