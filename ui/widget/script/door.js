// Talks to the server: one session, short-lived tokens in a header, no cookies, server-sent events read by fetch.
const RETRY_SECONDS = 10;
const SILENT_MS = 45000; // the server says something every 15 s; three times nothing is a dead line
const BACK_OFF_MS = [500, 1000, 2000, 4000, 8000, 15000, 30000];
const newKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((part) => part.toString(16).padStart(2, "0")).join("");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// What went wrong. `code` is the server's, or "lost" where nothing came back; `seconds`: when to come back.
class Problem extends Error {
  constructor(message, code, seconds = 0, status = 0) {
    super(message);
    Object.assign(this, { code, seconds, status });
  }
}

const problemOf = async (response) => {
  const error = (await response.json().catch(() => null))?.error ?? {};
  const told = Number(response.headers.get("retry-after")) || Number(error.retry_seconds);
  const seconds = response.status === 429 || response.status === 503 ? told || RETRY_SECONDS : 0;
  return new Problem(String(error.message ?? ""), String(error.code ?? response.status), seconds, response.status);
};

// What this browser keeps for a site: the visitor's secret, what was read, whether they were greeted. A browser that
// keeps nothing is told nothing: it lasts as long as the page.
class Kept {
  constructor(site) {
    this.name = `rungs-widget:${site}`;
    this.values = {};
    try {
      this.values = { ...JSON.parse(localStorage.getItem(this.name)) };
    } catch {
      // not allowed, or not ours
    }
  }
  set(values) {
    Object.assign(this.values, values);
    try {
      localStorage.setItem(this.name, JSON.stringify(this.values));
    } catch {
      // blocked or full
    }
  }
  clear() {
    this.values = {};
    try {
      localStorage.removeItem(this.name);
    } catch {
      // blocked
    }
  }
}

class Door {
  constructor(base, site, identity) {
    Object.assign(this, { base, site, identity, kept: new Kept(site), session: null, opening: null });
    this.visitor = this.kept.values.visitor ?? null;
  }

  // The session; several callers at once share one request.
  open() {
    this.opening ??= this._open().finally(() => (this.opening = null));
    return this.opening;
  }

  // From the first thing that a visitor does, and not before, the browser keeps who they are.
  keep() {
    if (this.visitor && this.kept.values.visitor !== this.visitor) this.kept.set({ visitor: this.visitor });
  }

  forget() {
    this.kept.clear();
    Object.assign(this, { visitor: null, identity: null, session: null });
  }

  async json(path, body, signal) {
    return (await this._call(path, body, signal)).json();
  }

  // The events of a route, one after the other: {event, data}; a comment is an event without a name.
  async *events(path, body, signal) {
    const response = await this._call(path, body, signal);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
      for (;;) {
        const { value, done } = await reader.read().catch((error) => {
          throw signal.aborted ? error : new Problem("", "lost");
        });
        if (done) return;
        const parts = (rest + value).split(/\r?\n\r?\n/);
        rest = parts.pop();
        yield* parts.map(eventOf);
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  // What happens in a conversation, for as long as `signal` is not set; connects again by itself.
  async live(conversation, after, signal, hear, connected) {
    for (let failures = 0; !signal.aborted; failures++) {
      const line = new AbortController();
      const cut = () => line.abort();
      signal.addEventListener("abort", cut);
      let watchdog = setTimeout(cut, SILENT_MS);
      try {
        const path = `live?conversation=${encodeURIComponent(conversation)}&after=${after()}`;
        for await (const { event, data } of this.events(path, undefined, line.signal)) {
          failures = 0;
          clearTimeout(watchdog);
          watchdog = setTimeout(cut, SILENT_MS);
          connected(true);
          if (!signal.aborted && event) hear(event, data);
        }
      } catch (error) {
        if ([403, 404].includes(error.status)) return;
      } finally {
        clearTimeout(watchdog);
        signal.removeEventListener("abort", cut);
        line.abort();
      }
      if (signal.aborted) return;
      if (failures) connected(false); // a server that ends a line that was fine is asked again without a word
      await pause(BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)] * (0.75 + Math.random() / 2));
    }
  }

  async _open() {
    const body = { site: this.site, visitor: this.visitor, identity: this.identity ?? null };
    const response = await this._fetch("session", body).catch((error) => {
      if (error.code === "identity") this.stranger();
      throw error;
    });
    const session = await response.json();
    this.session = session;
    this.visitor = session.visitor;
    if (this.kept.values.visitor || this.identity) this.keep(); // a signed identity is good in one browser only
    return session;
  }

  async _call(path, body, signal, again = true) {
    const { token } = this.session ?? (await this.open());
    try {
      return await this._fetch(path, body, signal, token);
    } catch (error) {
      if (error.status !== 401 || !again) throw error;
      if (this.session?.token === token) this.session = null; // somebody else may have a new one already
      return this._call(path, body, signal, false);
    }
  }

  async _fetch(path, body, signal, token) {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    if (body) headers["content-type"] = "application/json";
    const response = await fetch(`${this.base}api/${path}`, {
      method: body ? "POST" : "GET",
      body: body && JSON.stringify(body),
      headers,
      signal,
      credentials: "omit",
      cache: "no-store",
      referrerPolicy: "strict-origin", // the page's path is nobody's affair, its origin is what the server checks
    }).catch((error) => {
      throw signal?.aborted ? error : new Problem("", "lost");
    });
    if (!response.ok) throw await problemOf(response);
    return response;
  }
}

const eventOf = (part) => {
  let event = "";
  const data = [];
  for (const line of part.split(/\r?\n/)) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  try {
    return { event, data: JSON.parse(data.join("\n") || "{}") };
  } catch {
    return { event: "", data: {} };
  }
};
