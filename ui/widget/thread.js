// One conversation as it is shown: entries in order, an answer while it is written, sources, thumbs.
const NEAR_PX = 80; // who is that close to the end follows along
const WITHDRAWN_MS = 200;
const PLAIN = /\*\*|`/g;

class Thread {
  // `does`: rate(about, value, reason), ask(text), announce(text).
  constructor(tell, does) {
    Object.assign(this, { tell, does });
    this.node = make("div", { class: "log", role: "log", "aria-live": "off", tabindex: "0", "aria-label": tell("title") });
    this.jump = make("button", { type: "button", class: "jump", hidden: true, onclick: () => this.end(true) }, icon("down"), tell("newest"));
    this.following = true;
    this.node.addEventListener("scroll", () => this._look(), { passive: true });
    new ResizeObserver(() => this.end()).observe(this.node); // a phone's keyboard must not hide the end
  }

  clear() {
    this.node.replaceChildren();
    this.following = true;
    this._look();
  }

  // To the end, unless the reader has gone up; `always` in any case.
  end(always = false) {
    if (always) this.following = true;
    if (this.following) this.node.scrollTop = this.node.scrollHeight;
    this._look();
  }

  // The first words of an empty conversation, and what might be asked.
  greet(text, suggestions, note) {
    const intro = make("div", { class: "entry greeting" }, make("div", { class: "prose" }, prose(text)));
    if (note) intro.append(make("p", { class: "quiet" }, note));
    this._add(intro);
    this.suggest(suggestions);
  }

  // Questions to tap; the latest only.
  suggest(questions) {
    this.node.querySelector(".chips")?.remove();
    if (!questions?.length) return;
    const chips = questions.map((text) => make("button", { type: "button", class: "chip", onclick: () => this.does.ask(text) }, text));
    this._add(make("div", { class: "chips", role: "group", "aria-label": this.tell("ask") }, ...chips));
  }

  visitor(text) {
    this.node.querySelector(".chips")?.remove();
    const node = make("div", { class: "entry visitor" }, this._speaker(this.tell("you")), make("div", { class: "bubble", dir: "auto" }, text));
    this._add(node);
    this.end(true);
    return node;
  }

  system(text) {
    this._add(make("div", { class: "entry system" }, this.tell.server(text)));
  }

  agent({ id, text, author, at, rating }) {
    const who = make("div", { class: "who" }, make("b", {}, author), make("span", { class: "level human" }, this.tell("human")), this._time(at));
    const node = make("div", { class: "entry agent" }, who, make("div", { class: "bubble prose" }, prose(text)));
    node.append(this._actions(text, { message_id: id }, rating));
    this._add(node);
  }

  // A stored answer; one that was stopped has none.
  answered(entry) {
    const writing = this.writing();
    if (entry.answer) writing.answer(entry.answer, entry.rating);
    else writing.stop(entry.text);
    return writing;
  }

  writing() {
    return new Writing(this);
  }

  _add(node) {
    this.node.append(node);
    this.end();
  }

  _look() {
    const left = this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight;
    this.following = left < NEAR_PX;
    this.jump.hidden = this.following;
  }

  _speaker(words) {
    return make("span", { class: "unseen" }, `${words}: `);
  }

  _time(at) {
    const date = new Date(at);
    if (isNaN(date)) return null;
    return make("time", { datetime: at }, new Intl.DateTimeFormat(this.tell.language, { timeStyle: "short" }).format(date));
  }

  _actions(text, about, rating = 0) {
    const { tell } = this;
    const row = make("div", { class: "actions" });
    const thumbs = [1, -1].map((value) =>
      iconButton(value > 0 ? "good" : "bad", tell(value > 0 ? "good" : "bad"), () => choose(value), "small"),
    );
    const pressed = (chosen) => thumbs.forEach((thumb, at) => thumb.setAttribute("aria-pressed", String(chosen === [1, -1][at])));
    const choose = async (value) => {
      pressed(value);
      row.parentNode.querySelector(".why")?.remove();
      const kept = await this.does.rate(about, value, "");
      if (!kept) return pressed(0);
      if (value < 0) row.after(this._why(about));
      else this.does.announce(tell("thanks"));
      this.end();
    };
    pressed(rating);
    row.append(...thumbs);
    if (navigator.clipboard) row.append(this._copy(text));
    return row;
  }

  _copy(text) {
    const button = iconButton("copy", this.tell("copy"), async () => {
      await navigator.clipboard.writeText(text.replace(PLAIN, ""));
      this.does.announce(this.tell("copied"));
      button.classList.add("done");
      setTimeout(() => button.classList.remove("done"), 1200);
    }, "small");
    return button;
  }

  // What was not good: a reason to tap, words if one likes.
  _why(about) {
    const { tell } = this;
    let reason = "";
    const chips = REASONS.map((words) =>
      make("button", { type: "button", class: "chip", "aria-pressed": "false", onclick: (event) => {
        reason = reason === words ? "" : words;
        chips.forEach((chip) => chip.setAttribute("aria-pressed", String(chip === event.currentTarget && reason !== "")));
      } }, tell.server(words)),
    );
    const words = make("input", { type: "text", maxlength: "1500", "aria-label": tell("words"), placeholder: tell("words") });
    const send = async (event) => {
      event.preventDefault();
      const told = [reason, words.value.trim()].filter(Boolean).join(": ");
      const kept = !told || (await this.does.rate(about, -1, told));
      if (!kept) return;
      const thanks = make("p", { class: "quiet", tabindex: "-1" }, tell("thanks"));
      form.replaceWith(thanks);
      thanks.focus();
    };
    const form = make("form", { class: "why", onsubmit: send },
      make("fieldset", {}, make("legend", {}, tell("why")), make("div", { class: "chips" }, ...chips)),
      make("div", { class: "row" }, words, make("button", { type: "submit", class: "plain" }, tell("send"))));
    return form;
  }
}

// The assistant's side of one question: first the climb, then words as they come, then the answer with its sources.
class Writing {
  constructor(thread) {
    this.thread = thread;
    this.tell = thread.tell;
    this.text = "";
    this.step = make("div", { class: "step" }, this.tell("thinking"));
    this.body = make("div", { class: "prose" });
    this.node = make("div", { class: "entry assistant writing", "aria-busy": "true" }, thread._speaker(this.tell("assistant")), this.step, this.body);
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
    this.node.append(make("div", { class: "foot" }, sources.node, this.thread._actions(answer.text, { trace_id: answer.trace_id }, rating)));
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
    const again = make("button", { type: "button", class: "plain", onclick: () => (this.remove(), retry()) }, icon("retry"), tell("retry"));
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
    return make("button", { type: "button", class: "cite", "aria-label": `${this.tell("sources")} ${number}`, onclick: () => open(number) }, String(number));
  }

  // The sources, folded: what each says, and its own page if it has one.
  _sources({ citations, level }) {
    if (!citations?.length) return {};
    const { tell } = this;
    const items = citations.map(({ title, heading, uri, quote, page }) => {
      const page_of = page ? tell("page", { n: page }) : "";
      const url = pageOf(uri);
      const link = url && make("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, tell("visit"));
      const name = make("div", { class: "title" }, [title, page_of].filter(Boolean).join(", "));
      const place = heading && heading !== title && make("div", { class: "quiet" }, heading.replaceAll(" > ", " › "));
      return make("li", { tabindex: "-1" }, name, place, quote && make("blockquote", { dir: "auto" }, quote), link);
    });
    const title = `${tell(level ? "sources" : "closest")} (${items.length})`;
    const node = make("details", { class: "sources", ontoggle: () => this.thread.end() }, make("summary", {}, title), make("ol", {}, ...items));
    const open = (number) => {
      node.open = true;
      items[number - 1].focus();
      items[number - 1].scrollIntoView({ block: "nearest" });
    };
    return { node, open };
  }
}
