// Where one writes: Enter sends, Shift+Enter breaks the line, and what could not be sent stays.
const GROWS_TO_PX = 132;

class Composer {
  // `ask(text)` says whether it took the text; `stop()` stops the answer that is being written.
  constructor(words, ask, stop) {
    this.ask = ask;
    this.input = make("textarea", {
      placeholder: words("ask"),
      "aria-label": words("ask"),
      rows: "1",
      enterkeyhint: "send",
      dir: "auto",
      oninput: () => this._grow(),
      onkeydown: (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && this._send(event),
    });
    const round = (name, type, onclick) => Object.assign(iconButton(name, words(name), onclick, "send"), { type });
    this.sending = round("send", "submit", () => {});
    this.stopping = round("stop", "button", () => {
      stop();
      this.focus();
    });
    const onsubmit = (event) => this._send(event);
    this.node = make("form", { class: "composer", onsubmit }, this.input, this.sending, this.stopping);
  }

  focus() {
    this.input.focus();
  }

  // While the assistant is asked, it can be stopped.
  answering(now) {
    this.sending.hidden = now;
    this.stopping.hidden = !now;
  }

  _send(event) {
    event.preventDefault();
    const text = this.input.value.trim();
    if (text && this.ask(text)) {
      this.input.value = "";
      this._grow();
    }
    this.focus();
  }

  _grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, GROWS_TO_PX)}px`;
  }
}
