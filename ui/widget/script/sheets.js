// What lies over a conversation for a while: earlier conversations, asking for a person, the form before the first
// question. One at a time; what is beneath cannot be reached until it is gone.
class Sheets {
  constructor(chat) {
    Object.assign(this, { chat, words: chat.words, node: null });
  }

  close(refocus = true) {
    if (!this.node) return;
    this.node.remove();
    this.node = null;
    this.firm = false;
    this.chat.main.inert = false;
    if (!refocus || !this.chat.opened) return;
    if (this.beneath?.isConnected && this.beneath !== this.chat.panel) this.beneath.focus();
    else this.chat.focusIn();
  }

  async history() {
    const { words, chat } = this;
    const list = make("ul", { class: "past" });
    this._lay(words("past"), list);
    const found = await this.attempt(() => chat.door.json("conversations"));
    if (!found) return;
    const when = new Intl.DateTimeFormat(words.language, { dateStyle: "medium", timeStyle: "short" });
    list.append(
      ...found.conversations.map(({ id, title, updated_at: at }) => {
        const date = new Date(at);
        const open = async () => {
          if (!(await this.attempt(() => chat.talk.load(id)))) return;
          this.close(false);
          chat.read();
          chat.focusIn();
        };
        return make(
          "li",
          {},
          make(
            "button",
            { type: "button", onclick: open, "aria-current": id === chat.talk.id ? "true" : null },
            make("span", { class: "title", dir: "auto" }, title || "…"),
            make("span", { class: "quiet" }, isNaN(date) ? "" : when.format(date)),
          ),
        );
      }),
    );
    if (!found.conversations.length) list.replaceWith(make("p", { class: "quiet" }, words("none_yet")));
  }

  person() {
    const { words, chat } = this;
    const once = newKey();
    const note = make("textarea", { rows: "4", maxlength: "2000", id: "note", dir: "auto" });
    const label = make("label", { for: "note" }, `${words("note")} (${words("optional")})`);
    this._ask(
      words("talk"),
      words("talkSend"),
      () => chat.talk.person(note.value.trim(), once),
      make("p", {}, words("talkWhat")),
      label,
      note,
    );
  }

  formWanted() {
    return Boolean(this.chat.site.form?.length) && !this.chat.talk.id && !this.chat.unready;
  }

  // What the owner wants to know before the first question; it cannot be put away.
  form() {
    const { words, chat } = this;
    this.firm = true;
    const inputs = chat.site.form.map(({ name, label, type, required }, at) => {
      const kind = type === "email" ? type : "text";
      const completes = { email: "email", name: "name" }[kind === "email" ? kind : name];
      const input = make("input", {
        type: kind,
        name,
        id: `field-${at}`,
        required: Boolean(required),
        maxlength: "200",
        autocomplete: completes,
      });
      return [make("label", { for: input.id }, required ? label : `${label} (${words("optional")})`), input];
    });
    const fields = () => Object.fromEntries(inputs.map(([, input]) => [input.name, input.value.trim()]));
    this._ask(words("before"), words("start"), () => chat.talk.form(fields()), ...inputs.flat());
  }

  // Something small of the server; what went wrong is told where one looks. Truthy where it went well.
  async attempt(work) {
    this.node?.querySelector(".problem")?.remove();
    try {
      return (await work()) ?? true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const again = error.seconds ? ` ${this.words("again", { n: Math.ceil(error.seconds) })}` : "";
      const told = (error.code === "lost" ? this.words("lost") : error.message || this.words("failed")) + again;
      if (this.node) this.node.append(make("p", { class: "problem", role: "alert" }, told));
      else this.chat.announce(told);
      return null;
    }
  }

  _lay(title, ...content) {
    const { chat, firm } = this;
    this.close(false);
    this.firm = firm;
    this.beneath = chat.shadowRoot.activeElement;
    const back = !firm && iconButton("back", this.words("back"), () => this.close());
    this.node = make(
      "div",
      { class: "sheet", role: "group", "aria-labelledby": "sheet-title" },
      make("div", { class: "top" }, back, make("h3", { id: "sheet-title" }, title)),
      ...content,
    );
    chat.main.inert = true;
    chat.body.append(this.node);
    chat.focusIn();
  }

  // A sheet with one thing to send; sent once, however often the button is pressed.
  _ask(title, label, send, ...content) {
    const button = make("button", { type: "submit", class: "main-button" }, label);
    const onsubmit = async (event) => {
      event.preventDefault();
      if (button.disabled) return;
      button.disabled = true;
      const sent = await this.attempt(send);
      button.disabled = false;
      if (!sent) return;
      this.close(false);
      this.chat.focusIn();
    };
    this._lay(title, make("form", { class: "fields", onsubmit }, ...content, button));
  }
}
