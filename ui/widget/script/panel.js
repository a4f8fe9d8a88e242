// The component: launcher, panel and what lies over it (history, a person, a form), in a shadow root of its own.
// Its attributes are the script's: data-site, data-host, and what overrides the site's settings.
const PHONE = matchMedia("(max-width: 480px), (max-height: 420px)");
const DARK = matchMedia("(prefers-color-scheme: dark)");
const WAKING = ["online", "offline"];

class RungsChat extends HTMLElement {
  handlers = {};
  opened = false;

  connectedCallback() {
    if (this.root) return;
    const shadow = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    shadow.adoptedStyleSheets = [sheet]; // a page's policy may forbid inline styles; these are none
    this.root = make("div", { class: "root", hidden: true });
    this.announcer = make("div", { class: "unseen", "aria-live": "polite" });
    shadow.append(this.root, this.announcer);
    for (const kind of ["keydown", "keyup", "keypress"]) {
      shadow.addEventListener(kind, (event) => event.stopPropagation()); // or a page's shortcuts take what is typed
    }
    this.unread = 0;
    this.door = new Door(this.dataset.host, this.dataset.site, this.dataset.identity);
    this.door.stranger = () => this.emit("identity"); // the page may sign another
    PHONE.addEventListener("change", () => this._modal());
    DARK.addEventListener("change", () => this._colours());
    document.addEventListener("visibilitychange", () => this.talk?.listen());
    for (const kind of WAKING) addEventListener(kind, () => this._network());
    visualViewport?.addEventListener("resize", () => this._viewport());
    visualViewport?.addEventListener("scroll", () => this._viewport());
    this.ready = this._start();
  }

  // The page's own words with the widget (`window.Rungs`).

  open(byHand = true) {
    if (!this.panel || this.opened) return;
    this.opened = true;
    this.quiet = !byHand; // what opens by itself takes no focus
    this.before = document.activeElement;
    this.panel.hidden = false;
    this.root.classList.add("open");
    this._launcher();
    this._modal();
    this._viewport();
    this.teaser.remove();
    if (byHand) this.door.keep();
    this.read();
    if (this.unready) this._again();
    else if (this.sheets.formWanted()) this.sheets.form();
    this.focusIn();
    this.quiet = false;
    this.thread.end(true);
    this.talk.listen();
    this.emit("open");
  }

  close() {
    if (!this.opened || this.full) return;
    this.opened = false;
    this.sheets.close(false);
    this.panel.hidden = true;
    this.root.classList.remove("open");
    this._launcher();
    this._modal();
    this.talk.listen();
    if (this.shadowRoot.activeElement || document.activeElement === this || document.activeElement === document.body) {
      (this.launcher.hidden ? this.before : this.launcher)?.focus();
    }
    this.emit("close");
  }

  toggle() {
    if (this.opened) this.close();
    else this.open();
  }

  // Who the visitor is, signed by the site's own server. Resolves to whether the server believes it.
  async identify(identity) {
    this.door.identity = identity;
    this.door.session = null;
    await this._start();
    return this.session?.known ?? false;
  }

  // Forget who the visitor is (when they log out of the page).
  async reset() {
    this.talk?.fresh();
    this.door.forget();
    await this._start();
  }

  on(event, handler) {
    (this.handlers[event] ??= new Set()).add(handler);
    return () => this.handlers[event].delete(handler);
  }

  emit(event, detail = {}) {
    for (const handler of this.handlers[event] ?? []) {
      try {
        handler(detail);
      } catch (error) {
        console.error(error); // the page's affair
      }
    }
  }

  // What a `Talk` needs of us.

  arrived(words, byPerson = false) {
    this.announce(words);
    if (this.opened) return this.read(byPerson);
    this.unread += 1;
    this._launcher();
    this.emit("unread", { count: this.unread });
  }

  connected(well) {
    this.joining = !well;
    this._network();
  }

  changed() {
    const { state, agent, answering } = this.talk;
    const { words } = this;
    this.status.textContent =
      state === "person"
        ? words("person", { agent: agent ?? "" })
        : words(state === "waiting" ? "waiting" : "automatic");
    this.panel.dataset.state = state;
    this.composer.answering(answering);
    this.talkButton.hidden = state !== "assistant";
    this.hint.hidden = state === "person";
  }

  announce(words) {
    this.announcer.textContent = "";
    setTimeout(() => (this.announcer.textContent = words), 60); // the same words again are words again
  }

  // From here on our own affair.

  async _start() {
    let settings = {};
    this.unready = this.session = null;
    try {
      this.session = await this.door.open();
      settings = this.session.site;
    } catch (problem) {
      if (problem.code === "identity" && this.door.identity) {
        console.warn(`Rungs: ${problem.message}`);
        this.door.identity = null; // whom we do not know is a visitor like any other
        return this._start();
      }
      // what a page that is not allowed gets, it may not even read: it looks like a server that is not there
      this.absent = problem.code === "lost" && !this.panel;
      if (this.absent)
        return console.warn(`Rungs: no answer from ${this.dataset.host}. Does the site allow ${origin}?`);
      this.unready = problem;
    }
    this._build(settings);
    this.teaser?.remove();
    this.teaser = new Teaser(this);
    if (this.full || this.dataset.open !== undefined || this.wasOpen) this.open(this.wasOpen);
    const { conversation } = this.session ?? {};
    if (conversation && !this.unready && (this.door.kept.values.visitor || this.session.known))
      await this._resume(conversation);
    this.emit("ready", { known: this.session?.known ?? false });
  }

  async _resume(id) {
    const read = this.door.kept.values.read ?? 0;
    const entries = await this.talk.load(id).catch(() => []);
    if (this.opened) this.sheets.close();
    this.unread = this.opened ? 0 : entries.filter((entry) => entry.speaker === "agent" && entry.number > read).length;
    this._launcher();
  }

  _build(settings) {
    const given = this.dataset;
    this.words = teller(languageOf(given.language || settings.language || "en"), settings.texts);
    this.wasOpen = this.opened;
    this.opened = false;
    this.full = given.embedded !== undefined;
    this.site = {
      ...settings,
      title: given.title || settings.title || this.words("title"),
      greeting: given.greeting || settings.greeting || this.words("greeting"),
    };
    Object.assign(this.root, { lang: this.words.language, className: `root ${this.full ? "full" : ""}` });
    this.root.dataset.position = (given.position || settings.position) === "left" ? "left" : "right";
    for (const [name, value] of [
      ["--x", given.offsetX],
      ["--y", given.offsetY],
    ]) {
      if (/^\d{1,4}$/.test(value)) this.root.style.setProperty(name, `${value}px`);
    }
    this.thread = new Thread(this.words, {
      rate: (...about) => this.sheets.attempt(() => this.talk.rate(...about)),
      ask: (text) => this._ask(text),
      announce: (text) => this.announce(text),
    });
    this.panel = this._panel();
    this.launcher = make("button", {
      type: "button",
      class: "launcher",
      "aria-haspopup": "dialog",
      "aria-controls": "panel",
      onclick: () => this.toggle(),
    });
    this.launcher.hidden = this.full || given.launcher === "none";
    this.root.replaceChildren(this.panel, this.launcher);
    this.root.hidden = false;
    this.talk?.fresh();
    this.sheets = new Sheets(this);
    this.talk = new Talk(this.door, this.thread, this);
    this._colours();
    this._launcher();
    this.changed();
    this._greet();
  }

  _panel() {
    const { words } = this;
    this.status = make("p", { class: "status", role: "status" });
    const close = iconButton("close", words("close"), () => this.close(), "closing");
    close.hidden = this.full;
    const header = make(
      "div",
      { class: "head" },
      make("div", { class: "names" }, make("h2", { id: "title" }, this.site.title), this.status),
      iconButton("past", words("past"), () => this.sheets.history()),
      iconButton("fresh", words("fresh"), () => this._fresh()),
      close,
    );
    this.banner = make("div", { class: "banner", role: "status", hidden: true });
    this.composer = new Composer(
      words,
      (text) => this._ask(text),
      () => this.talk.stop(),
    );
    this.talkButton = make(
      "button",
      { type: "button", class: "link", onclick: () => this.sheets.person() },
      icon("person"),
      words("talk"),
    );
    this.hint = make("span", {}, words("hint"));
    this.main = make(
      "div",
      { class: "main" },
      make("div", { class: "scroll" }, this.thread.node, this.thread.jump),
      this.composer.node,
      make("div", { class: "tail" }, this.talkButton, this.hint),
    );
    this.body = make("div", { class: "body" }, this.main);
    return make(
      "section",
      {
        id: "panel",
        class: "panel",
        role: "dialog",
        "aria-labelledby": "title",
        tabindex: "-1",
        hidden: true,
        onkeydown: (event) => this._key(event),
      },
      header,
      this.banner,
      this.body,
    );
  }

  _greet() {
    const { greeting, suggestions, assistant_languages: languages } = this.site;
    this.thread.greet(greeting, suggestions, speaksOnly(this.words, languages));
  }

  _colours() {
    const wanted = this.dataset.theme || this.site.theme;
    const theme = wanted === "dark" || (wanted !== "light" && DARK.matches) ? "dark" : "light";
    this.root.classList.toggle("dark", theme === "dark");
    const shades = shadesOf([this.dataset.color, this.site.color], theme, this.root);
    for (const [name, rgb] of Object.entries(shades)) this.root.style.setProperty(`--${name}`, css(rgb));
  }

  _launcher() {
    const { words, unread } = this;
    const label = [words(this.opened ? "close" : "open"), unread ? words("unread", { n: unread }) : ""]
      .filter(Boolean)
      .join(", ");
    this.launcher.setAttribute("aria-label", label);
    this.launcher.setAttribute("aria-expanded", String(this.opened));
    this.launcher.replaceChildren(icon(this.opened ? "down" : "chat"));
    if (unread)
      this.launcher.append(
        make("span", { class: "unread", "aria-hidden": "true" }, unread > 9 ? "9+" : String(unread)),
      );
  }

  // On a phone the panel is all there is: a modal dialog, and the page behind it stands still.
  _modal() {
    const modal = this.opened && PHONE.matches && !this.full;
    if (modal) this.panel?.setAttribute("aria-modal", "true");
    else this.panel?.removeAttribute("aria-modal");
    if (modal === Boolean(this.modal)) return;
    const page = document.documentElement.style;
    if (modal) this.pageOverflow = page.overflow;
    page.overflow = modal ? "hidden" : this.pageOverflow;
    this.modal = modal;
  }

  // A phone's keyboard: as high as what is left to see.
  _viewport() {
    if (!this.modal) return;
    this.panel.style.setProperty("--seen", `${visualViewport.height}px`);
    this.panel.style.setProperty("--top", `${visualViewport.offsetTop}px`);
  }

  _network() {
    if (!this.banner) return this.absent && navigator.onLine && this._start();
    const told = !navigator.onLine ? this.words("offline") : this.joining ? this.words("joining") : "";
    this.banner.hidden = !told;
    this.banner.textContent = told;
    const back = navigator.onLine && this.away;
    this.away = !navigator.onLine;
    if (back && this.unready) this._again();
    else if (back) this.talk.listen(true);
  }

  read() {
    this.unread = 0;
    this._launcher();
    if (this.talk.last > (this.door.kept.values.read ?? 0)) this.door.kept.set({ read: this.talk.last });
  }

  _again() {
    this.thread.clear();
    this.thread.writing().fail(this.unready, () => this._start());
  }

  // One question at a time; nothing is asked of a server that is not there.
  _ask(text) {
    if (this.unready || this.talk.answering || !navigator.onLine) return false;
    this.talk.ask(text);
    return true;
  }

  _key(event) {
    if (event.key === "Escape" && !event.isComposing) {
      event.preventDefault();
      if (this.sheets.node && !this.sheets.firm) this.sheets.close();
      else this.close();
    } else if (event.key === "Tab" && this.modal) this._turn(event);
  }

  // Tab goes round in the panel while it is modal.
  _turn(event) {
    const stops = [...this.panel.querySelectorAll("a[href], button, input, textarea, summary, [tabindex='0']")].filter(
      (node) => !node.disabled && !node.closest("[inert]") && node.checkVisibility(),
    );
    const [from, to] = event.shiftKey ? [stops[0], stops.at(-1)] : [stops.at(-1), stops[0]];
    if (this.shadowRoot.activeElement !== from && this.shadowRoot.activeElement !== this.panel) return;
    if (this.shadowRoot.activeElement === this.panel && !event.shiftKey) return;
    event.preventDefault();
    to.focus();
  }

  // Into the panel, to where one goes on.
  focusIn() {
    if (!this.opened || this.quiet) return;
    const field = this.sheets.node?.querySelector("input, textarea") ?? this.sheets.node?.querySelector("button");
    if (field) field.focus();
    else if (matchMedia("(pointer: coarse)").matches)
      this.panel.focus(); // a keyboard that nobody asked for hides half
    else this.composer.focus();
  }

  _fresh() {
    this.sheets.close(false);
    this.talk.fresh();
    this._greet();
    this.changed();
    if (this.sheets.formWanted()) this.sheets.form();
    else this.focusIn();
    this.emit("new");
  }
}
