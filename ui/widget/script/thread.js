// One conversation as it is shown: entries in order, an answer while it is written, sources, thumbs.
const NEAR_PX = 80; // who is that close to the end follows along
const PLAIN = /\*\*|`/g;

class Thread {
  // `does`: rate(about, value, reason), ask(text), announce(text).
  constructor(tell, does) {
    Object.assign(this, { tell, does });
    this.node = make("div", {
      class: "log",
      role: "log",
      "aria-live": "off",
      tabindex: "0",
      "aria-label": tell("title"),
    });
    this.jump = make(
      "button",
      { type: "button", class: "jump", hidden: true, onclick: () => this.end(true) },
      icon("down"),
      tell("newest"),
    );
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
    const chips = questions.map((text) =>
      make("button", { type: "button", class: "chip", onclick: () => this.does.ask(text) }, text),
    );
    this._add(make("div", { class: "chips", role: "group", "aria-label": this.tell("ask") }, ...chips));
  }

  visitor(text) {
    this.node.querySelector(".chips")?.remove();
    const node = make(
      "div",
      { class: "entry visitor" },
      this._speaker(this.tell("you")),
      make("div", { class: "bubble", dir: "auto" }, text),
    );
    this._add(node);
    this.end(true);
    return node;
  }

  system(text) {
    this._add(make("div", { class: "entry system" }, this.tell.server(text)));
  }

  agent({ id, text, author, at, rating }) {
    const who = make(
      "div",
      { class: "who" },
      make("b", {}, author),
      make("span", { class: "level human" }, this.tell("human")),
      this._time(at),
    );
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
    return make(
      "time",
      { datetime: at },
      new Intl.DateTimeFormat(this.tell.language, { timeStyle: "short" }).format(date),
    );
  }

  _actions(text, about, rating = 0) {
    const { tell } = this;
    const row = make("div", { class: "actions" });
    const thumbs = [1, -1].map((value) =>
      iconButton(value > 0 ? "good" : "bad", tell(value > 0 ? "good" : "bad"), () => choose(value), "small"),
    );
    const pressed = (chosen) =>
      thumbs.forEach((thumb, at) => thumb.setAttribute("aria-pressed", String(chosen === [1, -1][at])));
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
    const button = iconButton(
      "copy",
      this.tell("copy"),
      async () => {
        await navigator.clipboard.writeText(text.replace(PLAIN, ""));
        this.does.announce(this.tell("copied"));
        button.classList.add("done");
        setTimeout(() => button.classList.remove("done"), 1200);
      },
      "small",
    );
    return button;
  }

  // What was not good: a reason to tap, words if one likes.
  _why(about) {
    const { tell } = this;
    let reason = "";
    const chips = REASONS.map((words) =>
      make(
        "button",
        {
          type: "button",
          class: "chip",
          "aria-pressed": "false",
          onclick: (event) => {
            reason = reason === words ? "" : words;
            chips.forEach((chip) =>
              chip.setAttribute("aria-pressed", String(chip === event.currentTarget && reason !== "")),
            );
          },
        },
        tell.server(words),
      ),
    );
    const words = make("input", {
      type: "text",
      maxlength: "1500",
      "aria-label": tell("words"),
      placeholder: tell("words"),
    });
    const send = async (event) => {
      event.preventDefault();
      const told = [reason, words.value.trim()].filter(Boolean).join(": ");
      const kept = !told || (await this.does.rate(about, -1, told));
      if (!kept) return;
      const thanks = make("p", { class: "quiet", tabindex: "-1" }, tell("thanks"));
      form.replaceWith(thanks);
      thanks.focus();
    };
    const form = make(
      "form",
      { class: "why", onsubmit: send },
      make("fieldset", {}, make("legend", {}, tell("why")), make("div", { class: "chips" }, ...chips)),
      make("div", { class: "row" }, words, make("button", { type: "submit", class: "plain" }, tell("send"))),
    );
    return form;
  }
}
