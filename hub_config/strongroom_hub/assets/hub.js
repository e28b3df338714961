// The hub's pages: stop a server, follow a start. Without it every page still reads well.
"use strict";

for (const button of document.querySelectorAll("button[data-stop]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Stopping ...";
    await fetch(button.dataset.stop, { method: "DELETE", headers: { "X-XSRFToken": button.dataset.xsrf } });
    window.location.reload();
  });
}

const pending = document.getElementById("pending");
if (pending) {
  const message = document.getElementById("progress-message");
  const bar = document.getElementById("progress-bar");
  const source = new EventSource(pending.dataset.progress);
  source.onmessage = (event) => {
    const progress = JSON.parse(event.data);
    if (progress.failed) {
      source.close();
      message.textContent = progress.message || "The server did not start.";
      message.className = "problem";
      bar.hidden = true;
    } else if (progress.ready) {
      source.close();
      window.location.reload();
    } else if (progress.progress !== undefined) {
      bar.value = progress.progress;
    }
  };
}
