// The assistant's side of one question: first the climb, then words as they come, then the answer with its sources.
const WITHDRAWN_MS = 200; // what replaces withdrawn words within it does so without a flicker

class Writing {
  constructor(thread) {
    this.thread = thread;
    this.tell = thread.tell;
    this.text = "";
    this.step = make("div", { class: "step" }, this.tell("thinking"));
    this.body = make("div", { class: "prose" });
    this.node = make(
      "div",
      { class: "entry assistant writing", "aria-busy": "true" },
      thread._speaker(this.tell("assistant")),
      this.step,
      this.body,
    );
    thread._add(this.node);
  }

  climb({ level, state }) {
    if (state === "trying") this.step.textContent = this.tell(`trying_${level}`) || this.tell("thinking");
    this.thread.end();
  }

  add(text) {
    this._clear();
    this.text += text;
    this.step.hidden = true;
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      if (this.over) return;
      this.body.replaceChildren(prose(this.text));
      this.thread.end();
    });
  }

  // What was shown does not count any more. An answer that follows at once takes its place without a flicker.
  withdraw() {
    this.clearing ??= setTimeout(() => this._clear(), WITHDRAWN_MS);
  }

  answer(answer, rating = 0) {
    this._end();
    const sources = this._sources(answer);
    const cite = (number) => sources.node && number <= answer.citations.length && this._cite(number, sources.open);
    this.body.replaceChildren(prose(answer.text, cite || undefined));
    this.body.before(make("div", { class: "levels" }, ...this._level(answer)));
    this.node.append(
      make(
        "div",
        { class: "foot" },
        sources.node,
        this.thread._actions(answer.text, { trace_id: answer.trace_id }, rating),
      ),
    );
    this.thread.end();
  }

  stop(text = this.text) {
    this._end();
    this.body.replaceChildren(prose(text));
    this.node.append(make("p", { class: "quiet" }, this.tell("stopped")));
    this.thread.end();
  }

  // What went wrong, in words; with a time to come back it is counted down before one can try again.
  fail(problem, retry) {
    this._end();
    const { tell } = this;
    const known = { lost: tell("lost"), busy: tell("busy") }[problem.code];
    const words = known || tell.server(problem.message) || tell("failed");
    const wait = make("span");
    const again = make(
      "button",
      { type: "button", class: "plain", onclick: () => (this.remove(), retry()) },
      icon("retry"),
      tell("retry"),
    );
    this.body.replaceChildren();
    this.node.classList.add("problem");
    this.node.append(make("p", {}, words, " ", wait), again);
    this._countDown(Math.ceil(problem.seconds), wait, again);
    this.thread.does.announce(`${words} ${wait.textContent}`);
    this.thread.end();
  }

  remove() {
    clearInterval(this.counting);
    this.over = true;
    this.node.remove();
  }

  _clear() {
    if (!this.clearing) return;
    clearTimeout(this.clearing);
    this.clearing = null;
    this.text = "";
    this.body.replaceChildren();
    this.step.hidden = false;
  }

  _end() {
    clearTimeout(this.clearing);
    this.over = true;
    this.step.remove();
    this.node.classList.remove("writing");
    this.node.removeAttribute("aria-busy");
  }

  _countDown(seconds, wait, again) {
    if (!seconds) return;
    again.disabled = true;
    const until = Date.now() + seconds * 1000;
    const show = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      wait.textContent = left > 0 ? this.tell("again", { n: left }) : "";
      if (left > 0) return;
      clearInterval(this.counting);
      again.disabled = false;
      this.thread.does.announce(this.tell("retry"));
    };
    show();
    this.counting = setInterval(show, 500);
  }

  _level({ outcome, level, confidence, confidence_words: words, level_words: name }) {
    const { tell } = this;
    if (outcome === "handed_off") return [make("span", { class: "level human" }, tell("waiting"))];
    if (!level) return [make("span", { class: "level" }, tell("none"))];
    const badge = make("span", { class: `level ${level}` }, tell(level) || String(name ?? level));
    return confidence == null ? [badge] : [badge, make("span", { class: "quiet" }, tell.server(String(words ?? "")))];
  }

  _cite(number, open) {
    return make(
      "button",
      { type: "button", class: "cite", "aria-label": `${this.tell("sources")} ${number}`, onclick: () => open(number) },
      String(number),
    );
  }

  // The sources, folded: what each says, and its own page if it has one.
  _sources({ citations, level }) {
    if (!citations?.length) return {};
    const { tell } = this;
    const items = citations.map(({ title, heading, uri, quote, page }) => {
      const page_of = page ? tell("page", { n: page }) : "";
      const url = pageOf(uri);
      const link =
        url && make("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, tell("visit"));
      const name = make("div", { class: "title" }, [title, page_of].filter(Boolean).join(", "));
      const place = heading && heading !== title && make("div", { class: "quiet" }, heading.replaceAll(" > ", " › "));
      return make("li", { tabindex: "-1" }, name, place, quote && make("blockquote", { dir: "auto" }, quote), link);
    });
    const title = `${tell(level ? "sources" : "closest")} (${items.length})`;
    const node = make(
      "details",
      { class: "sources", ontoggle: () => this.thread.end() },
      make("summary", {}, title),
      make("ol", {}, ...items),
    );
    const open = (number) => {
      node.open = true;
      items[number - 1].focus();
      items[number - 1].scrollIntoView({ block: "nearest" });
    };
    return { node, open };
  }
}
