/*
 * A proxy in front of the server may ask for a sign-in, and that ends some day: then its login page, a redirect to it,
 * or a refusal comes where an answer of ours should be. The page says so once, and asks no more until its window is
 * used again.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const send = window.fetch.bind(window);
  const REFUSED = [401, 403, 407, 511]; // which this server never answers
  let ended = false;
  /** @type {Promise<void> | null} */ let probing = null;

  const own = (/** @type {Response} */ reply) => !reply.url || new URL(reply.url).origin === window.location.origin;
  const isPage = (/** @type {Response} */ reply) => (reply.headers.get("Content-Type") || "").startsWith("text/html");
  // this server redirects no question of the page
  const isLogin = (/** @type {Response} */ reply) =>
    reply.redirected ||
    reply.type === "opaqueredirect" ||
    REFUSED.includes(reply.status) ||
    (own(reply) && reply.ok && isPage(reply));

  /** Whether the server can be reached, by one question that follows no redirect to another site. */
  function probe() {
    probing =
      probing ||
      send(app.url("health"), { redirect: "manual", cache: "no-store" })
        .then(
          (reply) => note(isLogin(reply)),
          () => {},
        )
        .finally(() => {
          probing = null;
        });
    return probing;
  }
  function note(/** @type {boolean} */ out) {
    if (out === ended) return;
    ended = out;
    if (out) tell();
    else {
      app.notifyOver("sign-in");
      app.reached();
    }
  }
  function tell() {
    app.notify({
      lead: "Your sign-in has ended.",
      text: "Reload the page. Your text and what you see are restored.",
      from: "sign-in",
      reload: true,
    });
  }

  window.fetch = async function (...asked) {
    try {
      const reply = await send(...asked);
      if (reply.type !== "opaque") note(isLogin(reply));
      return reply;
    } catch (error) {
      // a redirect to another site's login page looks like this
      if (/** @type {Error} */ (error).name !== "AbortError" && !ended) probe();
      throw error;
    }
  };
  /** Whether the sign-in of a proxy in front of the server has ended. */
  window.dashboardSignIn = { ended: () => ended, probe, tell };
  for (const name of ["focus", "visibilitychange"])
    window.addEventListener(name, () => {
      if (ended && !document.hidden) probe();
    });
});
