/*
 * The DOM as the scripts meet it: what they look for by a selector is HTML, and what they hear on the document comes
 * from an element. Where it may come from the document itself ("scroll", a pointer that leaves), they ask for `closest`
 * first.
 */

type Heard<E> = E & { target: HTMLElement };

interface Document {
  addEventListener<K extends keyof DocumentEventMap>(
    type: K,
    act: (event: Heard<DocumentEventMap[K]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: "toggle", act: (event: Event & { target: HTMLDetailsElement }) => void, capture: true): void;
  addEventListener(type: "view-words", act: (event: CustomEvent<ViewWords>) => void): void;
  addEventListener(type: "options-made", act: () => void): void;
}
interface HTMLElement {
  addEventListener<K extends keyof HTMLElementEventMap>(
    type: K,
    act: (event: Heard<HTMLElementEventMap[K]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
interface HTMLDialogElement {
  addEventListener<K extends keyof HTMLElementEventMap>(
    type: K,
    act: (event: Heard<HTMLElementEventMap[K]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
interface Window {
  addEventListener(type: "keydown", act: (event: Heard<KeyboardEvent>) => void, capture?: boolean): void;
}

interface ParentNode {
  querySelector(selectors: `${string} .js-plotly-plot`): Graph | null;
  querySelectorAll(selectors: `${string} .js-plotly-plot`): NodeListOf<Graph>;
  querySelectorAll(selectors: `g.${string}tick`): NodeListOf<Tick>;
  querySelector<K extends keyof HTMLElementTagNameMap>(selectors: K): HTMLElementTagNameMap[K] | null;
  querySelectorAll<K extends keyof HTMLElementTagNameMap>(selectors: K): NodeListOf<HTMLElementTagNameMap[K]>;
  querySelector(selectors: string): HTMLElement | null;
  querySelectorAll(selectors: string): NodeListOf<HTMLElement>;
}
interface Element {
  closest<K extends keyof HTMLElementTagNameMap>(selectors: K): HTMLElementTagNameMap[K] | null;
  closest(selectors: string): HTMLElement | null;
}
