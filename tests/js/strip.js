/* A page with the token strip and the selection bar, which shows a run of four tokens, three layers and two heads. */
const { documentOf } = require("./elements");
const { FIELDS, load } = require("./scripts");

const PARTS = [
  ...["core", "components/labels", "components/announcer", "components/pairs", "state/selection", "state/several"],
  "components/strip-marks",
  "components/words",
  "components/token-strip",
];
const INFO = {
  run: "r",
  kind: "causal",
  layers: 3,
  heads: 2,
  counts: { token: 4, layer: 3, head: 2 },
  labels: ["<s>", "·Mary", "↵", "·had"],
  leads: [0, 1, 0, 1],
  notes: { 2: ["a line break"] },
  legend: ["· a space", "↵ a line break"],
  breaks: [2],
  special: [0],
  continues: [3],
  surprisal: [null, 11.9, 0.04, null],
  impossible: [3],
  warning: null,
  divider: null,
  separator: null,
};
const LAYOUT = {
  page: "div",
  tokens: "div",
  "strip-legend": "span",
  "strip-classes": "span",
  "strip-caption": "span",
  "strip-marks": "span",
  "selected-token": "span",
  "second-token": "span",
  "clear-second": "button",
  undo: "button",
  redo: "button",
  tooltip: "div",
  announcer: "div",
};

/** A page that shows a run, with token 1, layer 1 and head 0 selected. */
function page(info = {}, selection = {}) {
  const document = documentOf(LAYOUT);
  for (const name of ["layer", "head"]) {
    const item = document.createElement("div");
    item.className = "bar-item stepper";
    for (const [id, tag] of [
      [name, "input"],
      [`${name}-down`, "button"],
      [`${name}-up`, "button"],
      [`${name}-range`, "span"],
    ])
      item.append(Object.assign(document.createElement(tag), { id }));
    document.documentElement.append(item);
  }
  document.getElementById("page").dataset.fields = JSON.stringify(FIELDS);
  const window = load(PARTS, [], document);
  const app = window.dashboardApp;
  const steps = [];
  const history = { note() {}, canUndo: () => true, canRedo: () => false, go: (by) => steps.push(by) };
  const notices = [];
  Object.assign(app, { history, request() {}, notify: (notice) => notices.push(notice), notifyOver() {} });
  app.modelOf = () => ({ pairs: true });
  app.embedded = () => false;
  app.captions = () => app.stripCaption("");
  const all = { ...INFO, ...info };
  app.state.info = all;
  app.state.options = {};
  app.state.selection = { run: "r", token: 1, layer: 1, head: 0, second: null, ...selection };
  app.paint("run");
  app.paint("selection");
  const token = (index) => document.getElementById("tokens").querySelector(`[data-token="${index}"]`);
  const tokens = () => document.getElementById("tokens").querySelectorAll("[data-token]");
  const byId = (id) => document.getElementById(id);
  return { window, app, document, byId, token, tokens, steps, notices };
}
const chosen = ({ app: { state } }) => {
  const { token, layer, head, second } = state.selection;
  return [token, layer, head, second];
};

module.exports = { chosen, page };
