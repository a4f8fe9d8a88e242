// Escape stops an answer that is being written.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const stop = document.querySelector("#stop");
  if (stop && stop.offsetParent !== null) stop.click();
});
