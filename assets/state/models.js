/*
 * The picker: a hub id that is typed and not listed becomes a line of its own; a model that a run fetched is here now.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const own = window.dash_clientside.dashboard;
  const HUB_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]*(\/[A-Za-z0-9][A-Za-z0-9_.-]*)?$/;

  function isHubId(/** @type {string} */ text) {
    return text.length <= 96 && HUB_ID.test(text) && !text.includes("..") && !text.includes("--");
  }

  /** @type {Map<string, { line: PickerLine; facts: ModelFacts }>} */
  const arrived = new Map(); // model → its line and facts, as its latest run told them: it may be here by now

  /** A run tells of its model. */
  app.arrive = (info) => {
    if (info && !info.error && info.known) arrived.set(info.model, info.known);
  };
  /** What is known of a model beside the page's own list. */
  app.arrivedModel = (name) => (arrived.get(name) || { facts: null }).facts;

  const fromHub = (/** @type {string} */ name) => ({ label: `${name} (from the hub)`, value: name, search: name });
  /** @type {PickerLine[]} */ let latest = [];
  /** Choose a model once the picker's lines have it, and together with them: without its line it would show nothing. */
  app.chooseModel = function (value, tries = 40) {
    if (latest.some((line) => line.value === value))
      window.dash_clientside.set_props("model", { options: latest, value });
    else if (tries) setTimeout(() => app.chooseModel(value, tries - 1), 50);
    else if (isHubId(value)) window.dash_clientside.set_props("model", { options: [...latest, fromHub(value)], value });
  };

  /** The lines of the picker: those of the server, the typed model that is chosen, and what is being typed. */
  own.pickerLines = function (typed, chosen, info, entries, lines) {
    app.arrive(info);
    const known = (/** @type {string} */ name) => Boolean(entries[name]) || arrived.has(name);
    const line = (/** @type {PickerLine} */ old) => (arrived.get(old.value) || { line: old }).line;
    const added = [...arrived].filter(([name]) => !lines.some((old) => old.value === name));
    const listed = [...lines.filter((old) => known(old.value)).map(line), ...added.map(([, told]) => told.line)];
    const search = (typed || "").trim();
    const low = search.toLowerCase();
    const found = listed.some((one) => (one.search || "").toLowerCase().includes(low));
    const typedIn = [];
    if (chosen && !known(chosen) && isHubId(chosen)) typedIn.push(chosen);
    if (isHubId(search) && !known(search) && search !== chosen && (search.includes("/") || !found))
      typedIn.push(search);
    const extra = typedIn.map((name) => ({
      label: name === chosen ? `${name} (from the hub)` : `Fetch ${name} from the hub`,
      value: name,
      search: name,
    }));
    const wanted = [...listed, ...extra];
    latest = wanted;
    return JSON.stringify(wanted) === JSON.stringify(lines) ? window.dash_clientside.no_update : wanted;
  };
});
