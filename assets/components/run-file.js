/* Opens a run file on the page: it is sent to the server (dashboard/web/routes/uploads.py), which gives its run. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {XMLHttpRequest | null} */ let sending = null;

  /** @param {string} text @param {boolean=} wrong */
  function say(text, wrong) {
    const said = app.byId("run-file-said");
    if (!said) return;
    said.textContent = text;
    said.classList.toggle("wrong", Boolean(wrong));
  }
  function label() {
    const button = app.byId("run-file");
    if (button) button.textContent = sending ? "Cancel" : "Open a run file …";
  }
  function choose() {
    const input = app.make("input");
    Object.assign(input, { type: "file", accept: ".npz,.safetensors" });
    input.addEventListener("change", () => {
      const [file] = input.files || [];
      if (file) send(file);
    });
    input.click();
  }
  function send(/** @type {File} */ file) {
    const most = Number(app.byId("run-file").dataset.most);
    const size = (file.size / 1e6).toLocaleString("en", { maximumFractionDigits: 1 });
    if (file.size > most) {
      say(`${file.name} has ${size} MB; this server takes at most ${Math.floor(most / 1e6)} MB.`, true);
      return;
    }
    const request = new XMLHttpRequest();
    sending = request;
    label();
    say(`Sending ${file.name} (${size} MB) …`);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      const done = loaded < total ? `Sending ${file.name}: ${Math.floor((100 * loaded) / total)} %` : "Checking it";
      if (sending === request) say(`${done} …`);
    });
    request.addEventListener("abort", () => say("Cancelled."));
    request.addEventListener("error", () => say("The file could not be sent. Try again in a moment.", true));
    request.addEventListener("load", () => ended(request, file.name));
    request.addEventListener("loadend", () => {
      sending = null;
      label();
    });
    request.open("POST", app.url("runs?" + new URLSearchParams({ name: file.name })));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(file);
  }
  function ended(/** @type {XMLHttpRequest} */ request, /** @type {string} */ name) {
    if (request.status === 200) {
      const { run, tokens, left_out: left } = JSON.parse(request.responseText);
      say("");
      window.dash_clientside.set_props("recent-dialog", { is_open: false });
      app.history.open(run);
      const without = left.length ? ` Not imported: ${left.join("; ")}.` : "";
      const count = tokens === 1 ? "1 token" : `${tokens.toLocaleString("en")} tokens`;
      const text = `${name}, ${count}: shown as it was saved, not computed here.${without}`;
      app.notify({ lead: "Opened from a file.", text, plain: true });
    } else say(request.responseText, true);
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest("#run-file")) return;
    if (sending) sending.abort();
    else choose();
  });
});
