// A greeting that comes by itself beside the launcher: once per visitor, gone when told so, and it takes no focus.
class Teaser {
  constructor(chat) {
    this.chat = chat;
    const { proactive } = chat.site;
    if (!proactive?.text || chat.full || chat.door.kept.values.greeted || chat.session?.conversation) return;
    this.waiting = setTimeout(() => !chat.opened && this._show(proactive.text), proactive.seconds * 1000);
  }

  remove() {
    clearTimeout(this.waiting);
    this.node?.remove();
  }

  _show(text) {
    const { chat } = this;
    chat.door.kept.set({ greeted: true });
    const dismiss = () => {
      this.remove();
      chat.launcher.focus();
    };
    this.node = make(
      "div",
      { class: "teaser" },
      make("button", { type: "button", class: "say", dir: "auto", onclick: () => chat.open() }, text),
      iconButton("close", chat.words("close"), dismiss, "small"),
    );
    chat.root.append(this.node);
    chat.announce(text);
    chat.emit("greeted");
  }
}
