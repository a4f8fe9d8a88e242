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
  for (const drop of document.querySelectorAll('button[aria-label="Click to upload or drop files"]')) {
    drop.removeAttribute("aria-label"); // its words say the same, and are seen
  }
};
new MutationObserver(named).observe(document, {
  subtree: true, childList: true, attributes: true, attributeFilter: ["aria-label"],
});
