// Puts the widget on the page that loaded the script, and gives the page `window.Rungs`.
const script = document.currentScript;

if (!window.Rungs && script?.dataset.site) {
  customElements.define("rungs-chat", RungsChat);
  const chat = document.createElement("rungs-chat");
  Object.assign(chat.dataset, script.dataset, { host: new URL(".", script.src).href });
  const ready = new Promise((done) => {
    const put = () => {
      document.body.append(chat);
      done(chat.ready);
    };
    if (document.body) put();
    else addEventListener("DOMContentLoaded", put);
  });
  const when =
    (name) =>
    (...given) =>
      ready.then(() => chat[name](...given));
  const on = (event, handler) => chat.on(event, handler);
  window.Rungs = Object.freeze({
    on,
    ...Object.fromEntries(["open", "close", "toggle", "identify", "reset"].map((name) => [name, when(name)])),
  });
}
