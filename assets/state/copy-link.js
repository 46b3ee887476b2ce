/* The link to what is shown. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  async function copyLink(/** @type {HTMLElement} */ button) {
    try {
      await navigator.clipboard.writeText(app.withText(app.address.link()));
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy from the address bar";
    }
    setTimeout(() => {
      button.textContent = "Copy link";
    }, 1500);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("#copy-link");
    if (button) copyLink(button);
  });
});
