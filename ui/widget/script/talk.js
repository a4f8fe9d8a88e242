// One visitor's conversation: asks, stops, hears what people write, calls a person. Shows through a `Thread`, and tells
// the panel (`view`) what changed. While a person has the conversation nobody else answers: the server sees to that.
const entryKey = ({ id, speaker }) => speaker + id; // a question and its answer have one id

class Talk {
  // `view`: opened, changed(), arrived(words, byPerson), announce(words), connected(well), emit(event, detail).
  constructor(door, thread, view) {
    Object.assign(this, { door, thread, view });
    this.turn = Promise.resolve();
    this._begin(null);
  }

  // Whether the assistant is being asked; a person can be written to without waiting.
  get answering() {
    return this.sending !== null && this.state !== "person";
  }

  ask(text) {
    this.door.keep();
    const message = { text, once: newKey(), bubble: this.thread.visitor(text), about: this.sign };
    this.view.emit("question", { text });
    return this._queue(message);
  }

  stop() {
    this.sending?.abort();
  }

  // A new conversation; it is made on the server by its first question.
  fresh() {
    this._leave();
    this._begin(null);
  }

  async load(id) {
    const found = await this.door.json(`conversations/${encodeURIComponent(id)}`);
    this._leave();
    this._begin(id);
    Object.assign(this, { state: found.state, agent: found.agent });
    for (const entry of found.entries) this._show(entry);
    this.thread.end(true);
    this.view.changed();
    this.listen();
    return found.entries;
  }

  async person(note, once) {
    const found = await this.door.json("person", { conversation: this.id, note, once });
    this.door.keep();
    this.id = found.conversation;
    this.thread.system(this.thread.tell("told"));
    this.view.announce(this.thread.tell("told"));
    this.view.emit("person", { conversation: this.id });
    this._state(found);
  }

  async form(fields) {
    this.id = (await this.door.json("form", { conversation: this.id, fields })).conversation;
    this.door.keep();
  }

  async rate(about, value, reason) {
    await this.door.json("feedback", { conversation: this.id, ...about, value, reason });
    this.view.emit("feedback", { value });
  }

  // Hear of people's words while one is waited for or the panel is open, and the page is in front.
  listen(anew = false) {
    const wanted = !document.hidden && (this.state !== "assistant" || this.view.opened) ? this.id : null;
    if (this.heard?.id === wanted && !anew) return;
    this.heard?.stop.abort();
    this.heard = null;
    if (!wanted) return;
    const stop = new AbortController();
    this.heard = { id: wanted, stop };
    const hear = (event, data) => (event === "entry" ? this._hear(data) : event === "state" && this._state(data));
    this.door.live(
      wanted,
      () => this.last,
      stop.signal,
      hear,
      (well) => this.view.connected(well),
    );
  }

  _begin(id) {
    const sign = {}; // what belongs to an earlier conversation has another
    Object.assign(this, {
      id,
      sign,
      state: "assistant",
      agent: null,
      last: 0,
      seen: new Set(),
      sending: null,
      mine: [],
    });
    this.thread.clear();
  }

  _leave() {
    this.sign = null;
    this.stop();
    this.heard?.stop.abort();
    this.heard = null;
    this.view.connected(true);
  }

  _queue(message) {
    this.turn = this.turn.then(() => message.about === this.sign && this._send(message));
    return this.turn;
  }

  async _send(message) {
    const stop = (this.sending = new AbortController());
    const here = () => message.about === this.sign;
    if (this.state !== "person") message.writing = this.thread.writing();
    this.mine.push(message);
    this.view.changed();
    try {
      const body = { conversation: this.id, text: message.text, once: message.once };
      let told = false;
      for await (const { event, data } of this.door.events("ask", body, stop.signal)) {
        if (!here()) return;
        told = this._take(message, event, data) || told;
      }
      if (!told) throw new Problem("", "lost");
    } catch (error) {
      if (!here()) return;
      message.writing ??= this.thread.writing();
      if (stop.signal.aborted) message.writing.stop();
      else this._failed(message, error);
    } finally {
      if (here()) {
        this.mine = this.mine.filter((other) => other !== message);
        this.sending = null;
        this.view.changed();
        this.listen();
      }
    }
  }

  // One event of an answer; true once the question is answered for.
  _take(message, event, data) {
    const writing = () => (message.writing ??= this.thread.writing());
    if (event === "conversation") this.id = data.id;
    else if (event === "climb") writing().climb(data);
    else if (event === "words") writing().add(data.text);
    else if (event === "withdraw") writing().withdraw();
    else if (event === "answer") this._answered(writing(), data);
    else if (event === "said") this._kept(message, data);
    else if (event === "problem") throw new Problem(data.message, data.code, data.retry_seconds, 1);
    return event === "answer" || event === "said";
  }

  _answered(writing, answer) {
    writing.answer(answer);
    this.thread.suggest(answer.suggestions);
    if (answer.outcome === "handed_off" && this.state === "assistant") this._state({ state: "waiting", agent: null });
    this.view.arrived(`${this.thread.tell("assistant")}: ${answer.text.replace(PLAIN, "")}`);
    this.view.emit("answer", { level: answer.level, outcome: answer.outcome, trace_id: answer.trace_id });
  }

  // A person has the conversation: what was written is kept for them.
  _kept(message, entry) {
    this.seen.add(entryKey(entry));
    message.writing?.remove();
    message.writing = null;
  }

  _failed(message, error) {
    if (error.status) message.once = newKey(); // refused for sure; where nothing came back it may have arrived
    message.writing.fail(error, () => {
      message.writing = null;
      this._queue(message);
    });
  }

  _show(entry) {
    if (this.seen.has(entryKey(entry))) return false;
    this.seen.add(entryKey(entry));
    this.last = Math.max(this.last, entry.number || 0);
    if (entry.speaker === "visitor") this.thread.visitor(entry.text);
    else if (entry.speaker === "agent") this.thread.agent(entry);
    else if (entry.speaker === "system") this.thread.system(entry.text);
    else if (entry.speaker === "assistant") this.thread.answered(entry);
    return true;
  }

  // What came in live. The visitor's own words are there already, unless they wrote them in another window.
  _hear(entry) {
    this.last = Math.max(this.last, entry.number || 0);
    const own = entry.speaker === "visitor" && this.mine.some(({ text }) => text === entry.text);
    if (own) this.seen.add(entryKey(entry));
    else if (this._show(entry) && entry.speaker !== "visitor") {
      const words = entry.speaker === "agent" ? `${entry.author}: ${entry.text}` : this.thread.tell.server(entry.text);
      this.view.arrived(words, entry.speaker === "agent");
      if (entry.speaker === "agent") this.view.emit("message", { author: entry.author });
    }
  }

  _state({ state, agent }) {
    if (state === this.state && agent === this.agent) return;
    Object.assign(this, { state, agent });
    this.view.changed();
    this.view.emit("state", { state, agent });
    this.listen();
  }
}
