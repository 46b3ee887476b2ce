/*
 * What the page's scripts share, for `tsc` alone (docs/decisions/036): the namespace that each of them is given, what
 * the server tells them, and what the page has from Dash and Plotly.
 */

type Part = (app: App) => void;
/** What a painter is called for. */
type What = "run" | "selection" | "hover" | "options" | "history" | "theme" | "size" | "model" | "nothing";

/** While a run is shown there are selection and info. */
type Painter = (
  ...told:
    | [state: Shows, what: Extract<What, "run" | "selection" | "hover">]
    | [state: State, what: Exclude<What, "run" | "selection" | "hover">]
) => void;

/* what the server says (dashboard/contracts, dashboard/views/run_info.py, dashboard/web) */

type Bound = "token" | "layer" | "head";
/** A field of the selection: dashboard/contracts/selection.py, `fields_for_browser`. */
interface Field {
  name: keyof Selection;
  of: Bound | null;
  optional: boolean;
  address: boolean;
  was: string | null;
  each?: Bound[];
  most?: number;
}
/** A field that holds several: "24.4,10.8". */
interface SeveralField extends Field {
  name: "heads" | "tokens";
  each: Bound[];
  most: number;
}
/** A field that is an index. */
type Place = Bound | "second";
interface PlaceField extends Field {
  name: Place;
  of: Bound;
}
interface Selection {
  run: string;
  token: number;
  layer: number;
  head: number;
  second: number | null;
  second_run?: string | null;
  stream?: string | null;
  stamp?: string | null;
  heads: string | null;
  tokens: string | null;
}
/** The value of a card's option; null where a number field is empty. */
type OptionValue = string | number | boolean | string[] | null;
type Options = Record<string, OptionValue>;
/** A card's option on the page: its component, its name in the address, its default. */
interface Control {
  id: string;
  property: string;
  name: string;
  standard: OptionValue;
}
interface ModelFacts {
  title: string;
  kind: string | null;
  layers: number;
  heads: number;
  here: boolean;
  limit: number | null;
  monospace?: boolean;
  limited_by?: string;
  refusal?: string | null;
  pairs?: boolean;
  chat?: boolean;
  mute?: boolean;
}
interface PickerLine {
  label: string;
  value: string;
  search?: string;
}
type Pattern =
  | "previous"
  | "next"
  | "self"
  | "first"
  | "separator"
  | "punctuation"
  | "duplicate"
  | "induction"
  | "spread"
  | "mixed"
  | "unknown";
/** What the browser knows of the run that is shown. */
interface Info {
  run: string;
  model: string;
  title: string;
  name?: string | null;
  kind: string;
  layers: number;
  heads: number;
  counts: Record<Bound, number>;
  text: string;
  chat: boolean;
  pair: string | null;
  divider: number | null;
  separator: string | null;
  tokenizer: string | null;
  labels: string[];
  leads: number[];
  notes: Record<number, string[]>;
  legend: string[];
  breaks: number[];
  special: number[];
  partial: number[];
  surprisal: (number | null)[] | null;
  impossible: number[];
  classes: ClassMarks | null;
  warning: string | null;
  patterns: [Pattern, number, number | null][][] | null;
  pictures: boolean;
  masked: boolean;
  masks: [string, number | null][];
  /** What its text has that reading aids need: dashboard/analysis/attention_reading.py, `offered`. */
  offers: string[];
  /** The tokens that continue a word. */
  continues: number[];
  version: string;
  stamp: string;
  outdated: string[];
  plain: boolean;
  numbers: string | null;
  file: string | null;
  start: Partial<Selection>;
  known?: { line: PickerLine; facts: ModelFacts } | null;
  options?: Options | null;
  opens?: Options;
  opened?: boolean;
  via?: string | null;
  problem?: string | null;
  error?: undefined;
}
/** What a classifier says of each token: the end of its colour's name ("" for none), a word, and both in full. */
interface ClassMarks {
  what: string;
  groups: string[];
  colours: string[];
  below: string[];
  said: string[];
}
/** In place of a run: why there is none. */
interface Failure {
  error: Reason | true;
  run?: undefined;
}
/** A text that is never empty: true where it is asked for. */
interface Reason extends String {}
/** What came of a run that was asked for. */
interface Outcome {
  run?: string;
  stamp?: string;
  error?: string | true;
  cancelled?: boolean;
  details?: string;
  retry?: boolean;
}
interface RunProgress {
  phase: string;
  done?: number;
  total?: number;
  message?: string;
}
interface Health {
  worker: "ready" | "busy" | "starting" | "none";
  message?: string;
  models?: string[];
}
interface Example {
  model: string;
  text: string;
}
/** A run in Recent. */
interface RecentRun {
  key: string;
  name: string;
  preview: string;
  pair: string;
  title: string;
  tokens: number;
  bytes: number;
  opened: number;
  created: number;
  pinned: boolean;
  chat: boolean;
  shell?: boolean;
  uploaded?: boolean;
}
/** How the browser asks for what a view shows. */
interface ViewFacts {
  name: string;
  card: string;
  first: boolean;
  selects: string | null;
  reads: string[];
  options: string[];
  show: string;
}
/** Elements as plain data: a text, or tag, attributes and children (dashboard/components/markup.py). */
type Tree = string | [tag: string, attributes: Record<string, unknown>, ...children: Tree[]];
/** What an answer says of itself, and what the page notes of it. */
interface Asked {
  at: Record<string, string | null>;
  own: Address;
  serial: number;
  epoch: number;
}
interface DerivedRequest {
  name: string;
  [parameter: string]: unknown;
}
interface DerivedState {
  error?: string;
  cancelled?: boolean;
  run?: string;
  ahead?: number;
  message?: string;
}
interface DerivedTold {
  serial?: string;
  error?: string;
  watched?: Record<string, DerivedState>;
}
/** The words around a view's figure. */
interface Words extends Meta {
  view: string;
  heading: Tree[];
  body: Tree[];
  footer: Tree[];
  about: Tree[][];
  alternative: string;
  table: Tree[] | LongTable | null;
  awaits: DerivedRequest[];
  of?: string;
  reads: string[];
  whole: boolean;
  asked?: Asked;
}
/** What the event "view-words" carries. */
interface ViewWords extends Pick<Words, "view" | "alternative" | "table" | "awaits" | "of" | "asked"> {
  changed: boolean;
}
/** A table of many rows: `long_table` of dashboard/views/shown.py. */
interface LongTable {
  title: string;
  caption: Tree[];
  columns: { name: string; unit: string; number: boolean; decimals: number }[];
  rows: (number | string | null)[][];
  selected: number[];
  strong: number[];
  added: number[];
  row_is: "" | "token" | "second";
  tokens: number[];
}
/** A score of all heads: a column of the Heads table. */
interface Score {
  id: string;
  name: string;
  short: string;
  /** The grid's colour option that shows it. */
  colour: string;
  digits: number;
  weight: boolean;
  most: number;
  chance: number | null;
  listed: boolean;
}
type HeadRow = [layer: number, head: number, pattern: Pattern, ...scores: (number | null)[]];
interface HeadScores {
  run: string;
  stamp: string;
  of: string;
  columns: Score[];
  rows: HeadRow[];
}
interface Told {
  coordinates: string;
  shape: [places: number, tokens: number, dimensions: number];
  ranges: [number, number][];
  titles: string[];
  path: boolean;
  quiet: number[];
  follows: boolean;
  at: number;
}
/** `layout.meta` of a figure: what it says of itself. A figure has what its view needs. */
interface FigureMeta extends Meta {
  run: string;
  stamp: string;
  layer: number;
  head: number;
  shape: [rows: number, columns: number];
  cells?: { shades: string }; // of a long text, whose cells the browser draws
  block?: number; // tokens one way that a cell of the figure covers
  what?: "norm" | "weight"; // the numbers of its cells, which `exact` holds: (query, key) float32 in base64
  exact?: string;
  reading?: ReadingMeta; // of a matrix that is not one head's, token by token
  space?: Told;
  axes?: Partial<Record<"x" | "y", Bound>>;
  first_layer: number;
  heads?: string | null;
  head_rows?: Pick<HeadScores, "of" | "columns" | "rows">;
  lines?: LinesTold;
  bars?: {
    names: [label: string, marks: number, bold: boolean][];
    columns: { head: string; right: number; texts: [number: string, bold: boolean][] }[];
  };
}

type AxesMeta = FigureMeta & Required<Pick<FigureMeta, "axes">>;

/* Plotly: what the scripts use of it, its private parts too */

interface PlotlyAxis {
  _length: number;
  _offset: number;
  range: [number, number];
  ticktext?: string[];
  /** From a place on the axis to pixels, and back. */
  l2p(value: number): number;
  p2l(pixels: number): number;
}
interface FullLayout {
  xaxis: PlotlyAxis;
  yaxis: PlotlyAxis;
  width: number;
  height: number;
  meta?: FigureMeta;
}
interface FigureLayout {
  meta?: FigureMeta;
  margin?: { t: number; b: number };
  dragmode?: string | false;
  width?: number;
  xaxis?: PlotlyAxis;
  yaxis?: PlotlyAxis;
  images?: { source: string }[];
}
interface Figure {
  data: object[];
  layout: FigureLayout;
}
interface PlotlyPoint {
  customdata?: any; // what its trace gave it
}
/** A label of an axis, as d3 leaves it. */
interface Tick extends SVGGElement {
  __data__?: { x: number };
}
interface Graph extends HTMLElement {
  layout?: FigureLayout;
  data?: { customdata?: any[] }[];
  calcdata?: { x: number; y: number }[][];
  _fullLayout?: FullLayout;
  _hoverdata?: PlotlyPoint[];
  on(event: "plotly_hover" | "plotly_click", act: (found: { points: PlotlyPoint[]; event: MouseEvent }) => void): void;
  on(event: "plotly_afterplot" | "plotly_relayout" | "plotly_unhover", act: () => void): void;
}
interface Plotly {
  react(box: HTMLElement, data: object[], layout: FigureLayout & { autosize: boolean }, config: object): void;
  relayout(graph: Graph, changes: object): void;
  toImage(figure: object, how: { format: string; width: number; height: number }): Promise<string>;
}

/* Dash and its components */

type SetProps = (id: string, props: Record<string, unknown>) => void;
interface DashClientside {
  no_update: NoUpdate;
  PreventUpdate: Error;
  set_props: SetProps;
  callback_context: { triggered: { prop_id: string }[] };
  dashboard: Callbacks;
}
interface NoUpdate {
  description: "dash_clientside.no_update";
}
/** The functions that Dash's clientside callbacks call by name (dashboard/web/callbacks). */
interface Callbacks {
  reduce(info: Info | Failure | null, proposal: Proposal | null, ...chosen: any[]): Selection | null | NoUpdate;
  pick(clicked: { points: PlotlyPoint[] } | null): NoUpdate;
  paint(selection: Selection | null, found: Info | Failure | null): (string | NoUpdate)[];
  openAddress(): Record<string, string> | NoUpdate;
  optionsChosen(...values: any[]): void;
  placeOptions(
    info: Info | Failure | null,
    step: { options: Options } | null,
    known: Control[],
    ...values: OptionValue[]
  ): (OptionValue | NoUpdate)[];
  show(selection: Selection | null, arrived: number | null, ...rest: any[]): Promise<unknown[]>;
  progress(data: RunProgress | null, form: string): void;
  formState(form: string): void;
  modelChosen(name: string | null, entries: Record<string, ModelFacts> | null): void;
  tokenizerChosen(name: string, tokenizer: string | null, entries: Record<string, ModelFacts> | null): void;
  examplesKnown(examples: Example[]): void;
  notice(submitted: Outcome | null, info: Info | Failure | null): void;
  pickerLines(
    typed: string | null,
    chosen: string | null,
    info: Info | Failure | null,
    entries: Record<string, ModelFacts>,
    lines: PickerLine[],
  ): PickerLine[] | NoUpdate;
  derivedProgress(told: DerivedTold | null): void;
  derivedResult(told: DerivedTold | null): void;
}
/** A proposed change of the selection, as Dash carries it. */
interface Proposal extends Change {
  serial: number;
  nothing?: boolean;
}
/** React as Dash brings it: what the components here use. */
interface React {
  createElement(type: string | Function | symbol, props: object | null, ...children: unknown[]): ReactNode;
  useLayoutEffect(act: () => void, on: unknown[]): void;
  useRef<T>(first: T): { current: T };
  useState<T>(first: T): [T, (next: T) => void];
  Children: { toArray(children: unknown): ReactNode[] };
  Fragment: symbol;
}
interface ReactNode {
  readonly $$typeof: symbol;
}
/** The table's own interface, as far as it is used (AG Grid Community). */
interface GridApi<Row = GridRow> {
  setGridOption(name: string, value: unknown): void;
  applyColumnState(state: { state: GridColumn[]; defaultState: object }): void;
  getColumnState(): GridColumn[];
  setColumnsVisible(names: string[], visible: boolean): void;
  setFocusedCell(index: number | null, column: string): void;
  getRowNode(id: string): GridNode | undefined;
  getDisplayedRowAtIndex(index: number): GridNode | undefined;
  ensureNodeVisible(node: object): void;
  ensureIndexVisible(index: number, where: string): void;
  getDisplayedRowCount(): number;
  refreshCells(how: { force: boolean }): void;
  addEventListener(name: string, act: (event: GridEvent<Row>) => void): void;
  isDestroyed(): boolean;
}
interface GridNode {
  rowIndex: number | null;
}
interface GridColumn {
  colId: string;
  sort: "asc" | "desc" | null;
}
interface GridRow {
  id: string;
  index: number;
  layer: number;
  head: number;
  pattern: string;
}
interface GridEvent<Row = GridRow> {
  data: Row;
  column: { getColId(): string };
  event: KeyboardEvent;
  source: string;
}
/** What a column's function is told of a cell. */
interface GridCell {
  value: number | null;
  data: GridRow;
  column: { getSort(): string | null };
}

/** As the console has it, and a script of a view that is added (docs/adding-a-view.md). */
declare const dashboardApp: App;
interface Window {
  dashboardApp: App;
  dashboardParts: { push(part: Part): unknown };
  dashboardSignIn: { ended(): boolean; probe(): Promise<void>; tell(): void };
  dash_clientside: DashClientside;
  dashboard_components: Record<string, Function>;
  dash_ag_grid: {
    getApi(id: "recent-rows"): GridApi<RecentRun> | undefined;
    getApi(id: string): GridApi | undefined;
  };
  Plotly: Plotly;
  React: React;
  ReactDOM: { createPortal(fields: unknown, box: Element): ReactNode };
  bench: object; // benchmarks/probe.js
}

/* the namespace */

interface State {
  selection: Selection | null;
  info: Info | null;
  hover: Hover | null;
  working: boolean;
  outcome: Outcome | null;
  options: Options;
  model: ModelFacts | null;
}
/** A page that shows a run. */
interface Shows extends State {
  selection: Selection;
  info: Info;
}
/** A token that is marked everywhere while the pointer is on it; `key`: the one that it attends to. */
interface Hover {
  token: number;
  key?: number | null;
  source: string;
}
interface Change extends Partial<Record<Place | "heads" | "tokens", unknown>> {
  step?: string;
  by?: number;
  undo?: boolean;
  redo?: boolean;
}
interface Notice {
  lead: string;
  text: string;
  details?: string;
  again?: boolean;
  plain?: boolean;
  from?: string;
  reload?: boolean;
}
/** A line of the tooltip. */
type Line = string | Node | (string | Node)[];
type Attributes = Record<string, string | number>;
/** What a step of the history holds. */
interface Shown {
  selection: Selection | null;
  options: Options;
}
interface Entry extends Shown {
  index: number;
  floor: number;
}
interface Step {
  kind: string | null;
  at: number;
}
/** Selection and options as an address says them. */
type Address = Record<string, string>;
type Theme = "light" | "dark";
/** A place in pixels. */
interface Point {
  x: number;
  y: number;
}
/** The same, with how far it is from the viewer. */
interface Spot extends Point {
  depth: number;
}
interface Edges {
  x0: number;
  x1: number;
  y0: number;
  y1: number;
}
/** left, top, right, bottom */
type Box = [number, number, number, number];
/** The places of hidden states that the browser computes (assets/overlays/space.js). */
interface Space {
  box: Edges;
  places: number;
  tokens: number;
  dimensions: number;
  path: boolean;
  quiet: number[];
  follows: boolean;
  titles: string[];
  ranges: [number, number][];
  at: number;
  layer: number;
  coordinates(place: number, token: number): Float32Array;
  spot(place: number, token: number): Spot | null;
  floor(place: number, token: number): Spot;
  lens(coordinates: ArrayLike<number>): Spot;
}
/** Where a figure's axes are, in pixels from the corner of its graph (assets/overlays/plot.js). */
interface Plane {
  box: Edges;
  width: number; // of the whole figure
  left(value: number): number;
  top(value: number): number;
  across(pixels: number): number;
  down(pixels: number): number;
}
/** Rows (0) or columns (1). */
type Side = 0 | 1;
/** What a figure says of its rows and columns (dashboard/views/attention/heatmap.py). */
interface ReadingMeta {
  rows: number[][]; // the tokens of each
  columns: number[][];
  names: Record<number, [label: string, marks: number]>; // of words, by their first token
  mask: [kind: string, window: number | null];
  asks: Address;
  said: string;
  what: string; // before a weight in the tooltip
}
/** What the rows and columns of a heatmap stand for (assets/overlays/reading.js). */
interface Reading {
  /** The row or column of a token; null if it is left out. */
  at(of: Side, token: number): number | null;
  tokens(of: Side, index: number): number[];
  first(of: Side, index: number): number;
  chosen(of: Side, index: number, ...now: (number | null)[]): number;
  label(
    of: Side,
    index: number,
    attributes: Attributes,
    parent: Element | null,
    most: number,
    numbered: boolean,
  ): SVGTextElement;
  width(of: Side, index: number, most: number): number;
  named(of: Side, index: number): (string | Node)[];
  position(of: Side, index: number): string;
  canRead(layer: number, row: number, column: number): boolean;
  isCausal(layer: number): boolean;
}
/** What is under the pointer: a row, a column, and the tokens that they stand for. */
interface Cell extends Hit {
  row: number | null;
  column: number | null;
  token: number;
  key: number | null;
}
/** The cells of the heatmap on the screen (assets/overlays/matrix.js). */
interface Cells extends Plane {
  svg: SVGElement;
  of: Reading;
  key(pixels: number): number;
  query(pixels: number): number;
  cell: number;
  rows: number;
  columns: number;
}
/** Axes of tokens, layers and heads on the screen (assets/overlays/axes.js). */
interface TokenAxes extends Plane {
  meta: AxesMeta;
}
/** What is at a pointer, of what axes. */
interface Found extends Partial<Record<Bound, number>> {
  axes: AxesMeta["axes"];
}
/** A view's graph, the box around it, and the SVG over it that its overlay draws into. */
/** A line of Attention's Lines: its head by index, query, key, weight. */
type LineDrawn = [head: number, query: number, key: number, weight: number];
/** What its figure says: the tokens to show, and the lines between them (dashboard/figures/attention_lines.py). */
interface LinesTold {
  tokens: number[];
  readable: number[];
  heads: [layer: number, head: number, on: number][];
  dashes: string[];
  drawn: LineDrawn[];
  chosen: number[];
  direction: "to" | "from" | "all";
  /** By the token that each stands at; Plotly may drop it if there are none. */
  words?: Record<number, [label: string, marks: number, last: number]>;
}
/** The tokens or words that lines join (assets/overlays/line-words.js). */
interface LineUnits {
  /** How many the text has. */
  count: number;
  isWord(token: number): boolean;
  /** The token that stands for one. */
  at(token: number | null | undefined): number | null;
  short(token: number, longest?: number): string;
  position(token: number): string;
  repeated(token: number, longest: number): boolean;
  /** Of a word, the piece that is chosen already, or its first. */
  chosen(token: number, ...now: (number | null)[]): number;
  named(token: number): (string | Node)[];
  label(token: number, attributes: Attributes, parent: Element | null, longest: number, suffix: string): SVGTextElement;
}
/** Where everything of it is, in pixels (assets/overlays/lines.js). */
interface LinesPlan {
  told: LinesTold;
  units: LineUnits;
  arcs: boolean;
  most: number;
  suffix(token: number): string;
  wide(token: number): number;
  left: number;
  right: number;
  pitch: number;
  y(token: number): number;
  top: number;
  rows: Map<number, number>;
  from: boolean;
  numbers: number;
  edge: number;
  start: number;
}
interface LinesHit extends Hit {
  token?: number;
  line?: LineDrawn;
}
interface Over {
  view: string;
  graph: Graph;
  holder: HTMLElement;
  svg: SVGElement;
}
/** What an overlay finds under a pointer, and the token to mark everywhere for it. */
interface Hit {
  mark: Hover | null;
  cursor?: string; // "pointer", if it is left out
}
/** What is drawn over the figure of a view (assets/overlays/overlay.js). */
interface Overlay<H extends Hit = any> {
  /** Do what has to be done once, when the view's graph is there. */
  attach?(over: Over): void;
  /** Paint everything over the figure; `what` has changed. */
  draw(over: Over, what: What | "figure"): void;
  /** What is at a place of the graph, in pixels from its corner; null where nothing is. */
  hit(over: Over, at: Point): H | null;
  /** The tooltip of what was hit. */
  lines?(hit: H): Line[] | Promise<Line[]>;
  /** A click on what was hit; left out where that means nothing. */
  choose?(over: Over, hit: H, event: MouseEvent): void;
}
/** First and last cell of each pixel, and the most that one holds (assets/overlays/cells.js). */
interface Spans {
  first: Int32Array;
  last: Int32Array;
  most: number;
}
/** A token's point (assets/overlays/points.js); `place`: which one of its path. */
interface Dot extends Point {
  token: number;
  at: Float32Array | number[];
  depth?: number; // of those that the browser places
  place?: number;
}
/** Whether a place of pixels is between two others. */
type InView = (pixels: number, from: number, to: number) => boolean;
/** Draw a frame around cells, with a casing of so many pixels. */
type FrameCells = (
  g: Cells,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
  className: string,
  casing?: number,
) => void;
interface Sizes {
  layers: number;
  heads: number;
}
/** A head's place in the grid, in pixels. */
interface HeadPlace {
  layer: number;
  head: number;
  row: number;
  column: number;
  left: number;
  top: number;
  /** Of similar heads, counted from 1; 0 where there are no groups. */
  group: number;
}
/** All heads' places (assets/components/head-layout.js). */
interface HeadLayout {
  rows: HeadPlace[][];
  all: HeadPlace[];
  of: Map<string, HeadPlace>; // by "layer.head"
  side: number;
  left: number;
  top: number;
  wide: number;
  high: number;
  groups: number;
  byLayer: boolean;
}
/** The order of the heads, in groups; null by layer (dashboard/views/head_order.py). */
interface HeadOrder {
  groups: number[][][] | null;
  said: string;
}
/** The grid of heads as it is drawn. */
interface HeadGrid {
  canvas: HTMLCanvasElement;
  frame: HTMLElement;
  inner: HTMLElement;
  top: HTMLElement;
  side: number;
  pitch: number;
  ratio: number;
  size: Sizes;
  layout: HeadLayout;
  labels: HTMLElement[];
}
/** The shades of all heads in one picture. */
interface HeadShades {
  wide: number;
  high: number;
  shades: Uint8Array;
}
/** A score that colours the grid of heads. */
interface GridScore extends Score {
  at(layer: number, head: number): number | null;
}

/** What is kept for a reload. */
interface Kept {
  text: string;
  pair: string;
  model: string;
  /** Of a model without one; not kept by earlier versions. */
  tokenizer?: string | null;
  chat?: boolean;
  runs: boolean;
}

/* assets/state/card-content.js */

/** An output of `show`: a view's figure or its words. */
interface Output {
  name: string;
  kind: "figure" | "words";
  view: ViewFacts;
}
interface Question {
  name: string;
  places: Address;
  own: Asked["own"];
  ofKind?: string;
  fields?: string[];
}
/** What an answer says of itself. */
interface Meta {
  reads: string[];
  whole: boolean;
  asked?: Asked;
}
type Answer = Figure | Words;
/** A question that is under way, or its answer. */
interface Answered {
  key: string;
  output: Output;
  question: Question;
  epoch: number;
  serial: number;
  waits: number;
  answer: Answer | null;
  done: Promise<void> | null;
}
/** Why there is no answer; `replaced`: the stamp of a capture that is there no more. */
interface Problem extends Error {
  replaced?: string;
}

/* components of Dash: their properties */

interface Tab {
  id: string;
  value: string;
  label: string;
  panel: string;
}
interface CardTabsProps {
  id: string;
  label: string;
  tabs: Tab[];
  active_tab: string;
  children: unknown;
  options: unknown[];
  setProps(values: { active_tab: string }): void;
}
/** What a panel says before the first run, and what stands beside and above its figure. */
type PanelParts = Record<"heading" | "body" | "footer" | "above" | "beside" | "export", Tree[]>;
interface ViewPanelProps {
  id: string;
  view: string;
  tab: string;
  parts: PanelParts;
  words: Words | null;
  options: unknown;
  grid?: unknown;
  children: unknown;
}

/** A figure to be saved: dashboard/web/routes/exports. */
interface ExportedFigure {
  figure: Figure;
  name: string;
  title: string;
  description: string;
  program: string;
  ground: string;
  width: number;
  height: number;
  millimetres: number | null; // of its width in print
  dpi: number;
  cells: PictureCells[];
  notes: string;
  provenance: Record<string, string>;
}
/** A picture in a drawing, cell by cell: dashboard/exports/cells.py. */
interface PictureCells {
  of: "trace" | "image";
  index: number;
  columns: number[];
  rows: number[];
  gap: number;
  colours: Record<string, number[]>;
}
/** How files are made (assets/components/picture-paper.js). */
interface ExportChoices {
  [name: string]: boolean | string;
  ground: boolean;
  attention: boolean;
  bare: boolean;
  width: string;
}

/** What benchmarks/probe.js takes for the effect of a click: options in force, marks alone, words as well. */
interface Watched {
  options: string[];
  marks: boolean;
  words: boolean;
}
/** What benchmarks/probe.js waits for. */
interface Goal {
  test(): boolean;
  then?(): Promise<void>;
  resolve(at: number): void;
  reached: boolean;
}

/** The field of layer or head. */
interface Stepper extends HTMLInputElement {
  id: "layer" | "head";
}
/** What the server lists, of how many. */
interface RecentRuns {
  runs: RecentRun[];
  count: number;
  known: boolean;
  words: string; // what was searched for
}
type RecentChange = { name: string } | { pinned: boolean };
/** The parts of the panel of runs that are made when it opens. */
interface RecentBox {
  label: HTMLLabelElement;
  search: HTMLInputElement;
  ask: HTMLElement;
}

/** The elements of the layout that are more than an element. */
interface Elements {
  text: HTMLTextAreaElement;
  "text-pair": HTMLTextAreaElement;
  run: HTMLButtonElement;
  undo: HTMLButtonElement;
  redo: HTMLButtonElement;
  layer: Stepper;
  head: Stepper;
  "layer-up": HTMLButtonElement;
  "layer-down": HTMLButtonElement;
  "head-up": HTMLButtonElement;
  "head-down": HTMLButtonElement;
  "heads-colour-box": HTMLSelectElement;
  "heads-scores-box": HTMLSelectElement;
}

interface App {
  state: State;
  prefix: string;
  entryAtStart: unknown;
  stamp: string | null;
  stamped: string | null;
  REPLACED: number;
  examples?: Example[];
  keys: string[][];

  /* core.js */
  onPaint(painter: Painter): void;
  paint(what: What): void;
  hover(mark: Hover | null): void;
  url(path: string): string;
  make<Tag extends keyof HTMLElementTagNameMap>(
    tag: Tag,
    className?: string,
    text?: string,
  ): HTMLElementTagNameMap[Tag];
  svg<Tag extends keyof SVGElementTagNameMap>(
    tag: Tag,
    attributes: Attributes,
    parent?: Element | null,
  ): SVGElementTagNameMap[Tag];
  /** An element of the layout: null only until Dash has rendered it, which a caller that comes so early looks at. */
  byId<Id extends string>(id: Id): Id extends keyof Elements ? Elements[Id] : HTMLElement;
  narrow(): boolean;
  isCovered(): boolean;
  tip(lines: null): void;
  tip(lines: Line[], x: number, y: number): void;
  bytes(text: string): Uint8Array<ArrayBuffer>;
  inflated(packed: BlobPart): Promise<Uint8Array<ArrayBuffer>>;
  fill(box: Element, nodes: Tree[]): void;
  whenAdded(act: () => void): void;
  graphOf(id: string): Graph | null;
  whenGraph(id: string, attach: (graph: Graph) => void): void;

  /* components/ */
  label(index: number, longest?: number): HTMLElement;
  short(index: number, longest?: number): string;
  repeated(index: number, longest: number): boolean;
  notes(index: number): string[];
  isolated(text: string): string;
  named(index: number): (string | Node)[];
  elided(text: string, longest?: number): string;
  svgToken(
    index: number,
    attributes: Attributes,
    parent: Element | null,
    longest?: number,
    suffix?: string,
  ): SVGTextElement;
  unparted(text: string): string;
  svgLabel(node: Element, text: string, lead: number): void;
  surprisal(token: number): number | null;
  surprisalText(value: number, digits: number): string;
  hasBelow(info: Info): boolean;
  tokenMark(token: number): { colour: string; below: string; said: string };
  markCaption(info: Info, brief?: boolean): string;
  markLegend(info: Info): void;
  readsWords(): boolean;
  wordOf(token: number): number[];
  wordLines(token: number): Line[];
  openTabs(info: Info, controls: Control[]): Options | null;
  stripCaption(before: string): void;
  say(sentence: string): void;
  sayBeside(sentence: string): boolean;
  selectedWords(): string;
  tellMore(box: HTMLElement): void;
  placeMenu(box: HTMLElement): void;
  exportChoices: ExportChoices;
  chooseExport(name: string, value: boolean | string): void;
  recentTable: { columns(): object[]; called(run: RecentRun): string; isShown(run: RecentRun): boolean };
  drawPicture(found: ExportedFigure): Promise<string>;
  cellOutline(indices: number[], columns: number[], rows: number[], gap: number): string;
  drawCells(drawing: Element, cells: PictureCells[]): void;
  sizeDrawing(drawing: Element, found: Pick<ExportedFigure, "width" | "height" | "millimetres">): void;
  sizeOfPng(found: Pick<ExportedFigure, "width" | "height" | "millimetres" | "dpi">): {
    side: number[];
    perMetre: number | null;
  };
  headScores(): HeadScores | null;
  fitsHeads(query: string): (row: HeadRow) => boolean;
  colourHeads(): void;
  headsTable(): number;
  headLayout(box: HTMLElement, size: Sizes, groups: number[][][] | null, note: number): HeadLayout;
  labelRows(
    layout: HeadLayout,
    selection: Selection | null,
    write: (text: string, selected: boolean, style: string) => void,
  ): void;
  headOrder(redraw: () => void): HeadOrder | null;
  headOrderAgain(): void;
  headOrderTitle(layout: HeadLayout): string;
  noteHeads(byScore: boolean): void;
  headPattern(layer: number, head: number): string;
  headPicture(layer: number, head: number, side: number): Promise<HTMLCanvasElement | null>;
  expectHeads(run: string, stamp: string): void;
  paintHeads(
    grid: HeadGrid,
    by: (GridScore & { step(value: number): number }) | null,
    isShown: () => boolean,
  ): Promise<void>;

  /* overlays/ */
  coloured<Part extends object>(figure: Part, valueOf: (name: string) => string): Part;
  colour(name: string): string;
  shadePixels(): Uint32Array;
  inTheme(figure: Figure): Figure;
  overlays: Map<string, Overlay>;
  redraw(view: string): void;
  setCursor(graph: Graph, shape: string): void;
  refit(): void;
  plane(graph: Graph | null): Plane | null;
  pointsOf(graph: Graph): { x: number; y: number }[];
  ticksOf(graph: Graph, axis: string): { value: number; text: Element | null }[];
  hoveredPoint(graph: Graph): PlotlyPoint | null;
  labelled(count: number, cell: number, strong: (number | null | undefined)[], most: number): number[];
  movedApart(
    tokens: [token: number, other: number | null | undefined],
    at: (index: number) => number,
    least: number,
    first?: number,
  ): Map<number, number>;
  placer(bounds: Box): Record<"hit" | "take" | "inside", (box: Box) => boolean>;
  labelBox(point: Point, direction: number[], wide: number, gap: number): Box;
  suffixes(info: Info): string[];
  reading(meta: FigureMeta): Reading;
  lineUnits(told: LinesTold): LineUnits;
  linesLegend(told: LinesTold | null): void;
  sayReading(meta: FigureMeta | null): void;
  cells: { paint(graph: Graph, cells: Cells | null, shown: FigureMeta | null): number; ready(): Promise<void> };
  exact(
    of: Pick<FigureMeta, "run" | "stamp" | "layer" | "head"> & { shape?: [number, number]; reading?: ReadingMeta },
    query: number,
  ): Promise<(key: number) => number>;
  precise(value: number): string;
  space(graph: Graph | null): Space | null;
  spaceBox(space: Space, parent: Element): void;
  turning(
    graph: Graph,
    holder: HTMLElement,
    active: () => boolean,
    redraw: (moving: boolean) => void,
  ): { keys: HTMLElement; wasTurn(): boolean };

  /* state/selection.js */
  propose(change: Change, view?: string): void;
  present(next: Selection, view?: string): void;
  asSecond(token: number, view?: string): void;
  moveSecond(by: number): void;
  showNothing(): void;
  canRead(layer: number, query: number, key: number): boolean;
  first(count: number, can: (index: number) => boolean, wanted: number): number;
  span(count: number, can: (index: number) => boolean, inside: number): [first: number, last: number];
  fields(): Field[];
  selectionOf(values: Record<string, any>): Selection;
  receive(selection: Selection, found: Info | Failure | null): boolean;

  /* state/several.js */
  severalIn(change: Change, info: Info): Partial<Selection>;
  severalNames(): ("heads" | "tokens")[];
  addedHeads(): number[][];
  headsOf(of: { layer: number; head: number; heads?: unknown }): number[][];
  addedTokens(): number[];
  add(name: "heads" | "tokens", item: string, view?: string): void;
  addSelected(name: "heads" | "tokens"): void;
  frameAdded(inner: HTMLElement, around: (node: HTMLElement, layer: number, head: number) => void): void;
  clearAdded(): void;
  addedWords(): string;

  /* state/ */
  stepKind(entry: Shown, before: Shown, controls: string[]): string;
  joins(kind: string, last: Step, at: number, byKey: boolean): boolean;
  address: {
    /** The cards' options: their components and defaults. */
    controls: Control[];
    /** The tabs that the run opens with, by card, where they are not the first. */
    opens: Options;
    /** Whether a number field is empty, or holds what is out of its bounds. */
    isEmpty(control: Control, value: OptionValue | undefined): boolean;
    /** The options that are not at their default, and the tabs of cards that the run opens with another. */
    given(options: Options): Options;
    ofOptions(options: Options): Address;
    ofSelection(selection: Selection): Address;
    of(entry: Shown): Address;
    /** What is shown now. */
    now(): Address;
    /** A link to what is shown; of the empty page, the page's own. */
    link(): string;
  };
  history: {
    canUndo(): boolean;
    canRedo(): boolean;
    go(by: number): void;
    options(): Options | null;
    set(options: Options): void;
    optionsAre(known: Control[], values: OptionValue[]): Options;
    note(): void;
    arrives(info: Info | Failure): void;
    again(): void;
    open(run: string): void;
    forget(run: string): void;
  };
  left: { at(address: Address): void; of(run: string): Address | undefined; forget(run: string): void };
  isOpen(view: string): boolean;
  request(selection: Selection): void;
  refresh(selection: Selection): void;
  reached(): void;
  replaced(stamp: string): void;
  notify(notice: Notice): void;
  hideNotice(): void;
  notifyOver(from: string): void;
  status(): void;
  applyTheme(): string;
  chosen(): string | null;
  modelOf(name: string | null): ModelFacts | null;
  fitText(area: HTMLTextAreaElement): void;
  written(): { text: string; pair: string; model: string | null; tokenizer: string | null; chat: boolean };
  write(
    what: { text: string; pair: string | null; model: string; tokenizer?: string | null; chat?: boolean },
    done?: () => void,
  ): void;
  chat(): boolean;
  setChat(on: boolean): void;
  arrangeChat(): void;
  pair(): string;
  arrangeTexts(): void;
  resetPair(): void;
  textChanged(): void;
  suggestPair(separator?: string): void;
  dividerAt(token: number): Element[];
  chooseExample(index: number): void;
  makeLate(id: string, made: unknown, property?: string): Promise<boolean>;
  longTable(view: string, table: LongTable | null): Promise<void>;
  numberText(value: number, decimals: number): string;
  loadTables(): Promise<unknown>;
  begin(text: string, pair?: string | null): string;
  retitle(name: string): void;
  captions(): void;
  countTokens(): void;
  /** The model whose tokenizer is chosen for one that has none. */
  lentTokenizer(): string | null;
  arrive(info: Info | Failure | null): void;
  arrivedModel(name: string): ModelFacts | null;
  chooseModel(value: string, tries?: number): void;
  keepText(): void;
  takeUpText(): void;
  textComesBack(): boolean;
  withText(link: string): string;
  takeLinkText(): string;
  embedded(): boolean;
}

/** What elements say of themselves, where they are found by it. */
interface DOMStringMap {
  build: string;
  theme: string;
  version: string;
  fields: string;
  views: string;
  tree: string;
  late: string;
  kinds: string;
  needs: string;
  when: string;
  setting: string;
  figure: string;
  placeholder: string;
  export: string;
  exportChoice: string;
  glossary: string;
  term: string;
  tables: string;
  panel: string;
  step: string;
  exampleOfTour: string;
  selection: string;
  tab: string;
}
