// The agents' page: keys, buttons in its HTML, and what changed on the desk as it changes.
(() => {
  const find = (id) => document.querySelector(`#${id}`);
  const press = (id) => {
    const button = find(id);
    if (button && button.offsetParent !== null && !button.disabled) button.click();
  };
  let count = 0;
  const tell = (id, value) => {
    const field = document.querySelector(`#${id} textarea, #${id} input`);
    if (!field) return;
    field.value = `${value}#${++count}`; // never twice the same: it must count as a change
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const field = (id) => document.querySelector(`#${id} textarea, #${id} input`);
  const rows = () => [...document.querySelectorAll("#copilot-rows .desk-row")];

  // Live: the hidden button looks again.
  let due = 0;
  const look = () => {
    clearTimeout(due);
    due = setTimeout(() => find("copilot-refresh")?.click(), 120);
  };
  const listen = () => {
    const stream = new EventSource("/live/desk");
    stream.addEventListener("changed", look);
    stream.addEventListener("error", () => {
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    });
  };
  listen();

  // Buttons in the page's own HTML.
  const onClick = {
    handoff: (button) => tell("copilot-chosen", button.dataset.handoff),
    report: (button) => tell("copilot-reported", button.dataset.report),
    quote: (button) => tell("copilot-quoted", button.dataset.quote),
    open: (button) => find(button.dataset.open)?.showModal(),
    close: (button) => find(button.dataset.close)?.close(),
    copy: (button) => {
      const passage = button.closest("li").querySelector(".passage");
      navigator.clipboard.writeText(passage.textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1200);
    },
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    for (const name of Object.keys(onClick)) {
      if (name in button.dataset) onClick[name](button);
    }
  });

  // Keys.
  const step = (by) => {
    const all = rows();
    const at = all.findIndex((row) => row === document.activeElement);
    const from = at >= 0 ? at : all.findIndex((row) => row.getAttribute("aria-current")) - (by > 0 ? 0 : -1);
    const next = at < 0 && !all.some((row) => row.getAttribute("aria-current")) ? 0 : from + by;
    all[Math.max(0, Math.min(all.length - 1, next))]?.focus();
  };
  const unfold = (box, id) => {
    const head = document.querySelector(`#${box} button.label-wrap`);
    if (head && !head.classList.contains("open")) head.click();
    setTimeout(() => field(id)?.focus(), 60);
  };
  const onKey = {
    j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
    t: () => press("copilot-take"), r: () => press("copilot-resolve"), b: () => press("copilot-back"),
    e: () => field("copilot-reply")?.focus(), u: () => press("copilot-use"), g: () => press("copilot-again"),
    n: () => unfold("copilot-note-box", "copilot-note"), s: () => unfold("copilot-know-box", "copilot-query"),
    "/": () => field("copilot-search")?.focus(), "?": () => find("copilot-help")?.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=radio]), textarea, select, [contenteditable]");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest?.("#copilot-reply")) {
      event.preventDefault();
      press("copilot-send");
      return;
    }
    if (event.key === "Escape" && typing) event.target.blur();
    const arrow = event.key.startsWith("Arrow");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || find("copilot-help")?.open) return;
    if (arrow && event.target.closest?.("input, .desk-thread, [role=listbox]")) return;
    const act = onKey[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // A list that is renewed keeps its focus; a conversation that grows shows its end.
  let focused = "";
  let entries = 0;
  let conversation = "";
  document.addEventListener("focusin", (event) => { focused = event.target.dataset?.handoff || ""; });
  const settle = () => {
    if (focused && document.activeElement === document.body) {
      rows().find((row) => row.dataset.handoff === focused)?.focus();
    }
    const thread = document.querySelector(".desk-thread");
    const current = rows().find((row) => row.getAttribute("aria-current"))?.dataset.handoff || conversation;
    if (thread && (thread.children.length !== entries || current !== conversation)) {
      entries = thread.children.length;
      conversation = current;
      thread.scrollTop = thread.scrollHeight;
    }
    for (const label of document.querySelectorAll("#copilot-query button:not([aria-label])")) {
      label.setAttribute("aria-label", "Search");
    }
  };
  new MutationObserver(settle).observe(document, { subtree: true, childList: true });
})();
