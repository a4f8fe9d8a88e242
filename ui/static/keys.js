// Escape stops an answer that is being written.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const stop = document.querySelector("#stop");
  if (stop && stop.offsetParent !== null) stop.click();
});
// Copying takes the words of a message, not the markup they are shown with.
document.addEventListener("click", (event) => {
  const button = event.target.closest('#chat .message-row button[aria-label^="Cop"]');
  if (!button) return;
  const row = button.closest(".message-row");
  const parts = row.querySelectorAll(row.classList.contains("bot-row") ? ".answer > p" : ".message-content");
  navigator.clipboard.writeText([...parts].map((part) => part.innerText.trim()).join("\n\n"));
  event.stopImmediatePropagation();
  event.preventDefault();
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1200);
}, true);
// What Gradio labels with a message's markup, or not at all, gets a name that can be read aloud.
const named = () => {
  for (const message of document.querySelectorAll('[data-testid="bot"][aria-label*="<"]')) {
    message.setAttribute("aria-label", "Answer");
  }
  const send = document.querySelector("#question button:not([aria-label])");
  if (send) send.setAttribute("aria-label", "Send");
  for (const examples of document.querySelectorAll('.examples[role="list"]')) {
    examples.setAttribute("role", "group"); // it holds buttons, and a list may not
    examples.setAttribute("aria-label", "Suggested questions");
  }
  for (const drop of document.querySelectorAll('button[aria-label="Click to upload or drop files"]')) {
    drop.removeAttribute("aria-label"); // its words say the same, and are seen
  }
};
new MutationObserver(named).observe(document, {
  subtree: true, childList: true, attributes: true, attributeFilter: ["aria-label"],
});
// What people write appears at once: the server says that something changed, the page reads it through its own door.
const live = { of: "", stop: new AbortController(), timer: 0 };
const refresh = () => {
  clearTimeout(live.timer);
  live.timer = setTimeout(() => document.querySelector("#refresh")?.click(), 120);
};
const read = async (conversation, visitor, signal) => {
  const headers = { "rungs-visitor": visitor };
  const answer = await fetch(`/live/conversation/${encodeURIComponent(conversation)}`, { headers, signal });
  if (!answer.ok) return answer.status !== 404 && answer.status !== 401;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return true;
    rest += value;
    if (rest.includes("event: changed")) refresh();
    rest = rest.slice(rest.lastIndexOf("\n") + 1);
  }
};
const listen = async () => {
  if (!document.querySelector("#refresh")) return;
  const [conversation, visitor] = ["conversation", "visitor"].map((name) => localStorage.getItem("rungs-" + name) || "");
  const of = document.hidden ? "" : `${visitor} ${conversation}`;
  if (of === live.of) return;
  live.of = of;
  live.stop.abort();
  live.stop = new AbortController();
  if (!of || !conversation) { refresh(); return; }
  const signal = live.stop.signal;
  for (let seconds = 1; !signal.aborted; seconds = Math.min(2 * seconds, 30)) {
    const more = await read(conversation, visitor, signal).catch(() => true);
    if (!more || signal.aborted) return;
    await new Promise((go) => setTimeout(go, 1000 * seconds));
  }
};
window.addEventListener("rungs-remembered", listen);
document.addEventListener("visibilitychange", listen);
