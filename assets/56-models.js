/* The picker: a hub id that is typed and not listed becomes a line of its own. */
(function () {
  "use strict";
  const own = window.dash_clientside.dashboard;
  const HUB_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]*(\/[A-Za-z0-9][A-Za-z0-9_.-]*)?$/;

  function isHubId(text) { return text.length <= 96 && HUB_ID.test(text) && !text.includes("..") && !text.includes("--"); }

  /** The lines of the picker: those of the server, the typed model that is chosen, and what is being typed. */
  own.pickerLines = function (typed, chosen, entries, lines) {
    const listed = lines.filter((line) => entries[line.value]);
    const search = (typed || "").trim();
    const low = search.toLowerCase();
    const found = listed.some((line) => (line.search || "").toLowerCase().includes(low));
    const wanted = [];
    if (chosen && !entries[chosen] && isHubId(chosen)) wanted.push(chosen);
    if (isHubId(search) && !entries[search] && search !== chosen && (search.includes("/") || !found)) wanted.push(search);
    const extra = wanted.map((name) => ({
      label: name === chosen ? `${name} (from the hub)` : `Fetch ${name} from the hub`, value: name, search: name,
    }));
    const shown = lines.filter((line) => !entries[line.value]);
    const same = shown.map((line) => line.label).join("\n") === extra.map((line) => line.label).join("\n");
    return same ? window.dash_clientside.no_update : [...listed, ...extra];
  };
})();
