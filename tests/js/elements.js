/* As much of a document as scripts need that make elements, look for them and listen to events; nothing is laid out. */

/** Whether an element is what one part of a selector says: `button#run.strong[data-token="3"]:not([hidden])`. */
function fits(node, part) {
  const [whole, tag, rest] = /^([a-z0-9]*)((?:[#.][\w-]+|\[[^\]]+\]|:[a-z-]+(?:\([^)]*\))?)*)$/i.exec(part) || [];
  if (whole === undefined) throw new Error(`a selector that this document does not know: ${part}`);
  if (tag && node.tagName !== tag.toUpperCase()) return false;
  return (rest.match(/[#.][\w-]+|\[[^\]]+\]|:[a-z-]+(?:\([^)]*\))?/gi) || []).every((one) => {
    if (one[0] === "#") return node.id === one.slice(1);
    if (one[0] === ".") return node.classList.contains(one.slice(1));
    if (one.startsWith(":not(")) return !fits(node, one.slice(5, -1));
    if (one[0] === ":") return node.states.has(one.slice(1));
    const [, name, value] = /** @type {string[]} */ (/^\[([\w-]+)(?:="?([^"]*)"?)?\]$/.exec(one));
    return value === undefined ? node.hasAttribute(name) : node.getAttribute(name) === value;
  });
}
function matches(node, selector) {
  return selector.split(",").some((one) => {
    const parts = one.trim().split(/\s+/);
    if (!fits(node, parts.pop())) return false;
    let at = node.parentElement;
    while (parts.length && at) {
      if (fits(at, parts[parts.length - 1])) parts.pop();
      at = at.parentElement;
    }
    return !parts.length;
  });
}
const dashed = (name) => "data-" + name.replace(/[A-Z]/g, (letter) => "-" + letter.toLowerCase());

class Text {
  constructor(text) {
    this.textContent = text;
  }
}

class Element {
  /** @type {string} */ tagName = "";
  /** @type {any} */ ownerDocument;
  /** @type {string} */ id = "";
  /** @type {any} */ parentElement;
  /** @type {(Element | Text)[]} */ childNodes = [];
  /** @type {Record<string, string>} */ style = {};

  /** @param {string} tag @param {any} document */
  constructor(tag, document) {
    Object.assign(this, { tagName: tag.toUpperCase(), ownerDocument: document, id: "", parentElement: null });
    Object.assign(this, { childNodes: [], style: {}, value: "", hidden: false, disabled: false, tabIndex: 0 });
    Object.assign(this, { scrollTop: 0, scrollHeight: 0, clientHeight: 0, offsetTop: 0, offsetHeight: 0 });
    this.attributes = new Map();
    this.states = new Set(); // "hover", "focus-visible": what a selector may ask for
    const { attributes } = this;
    this.dataset = new Proxy(
      {},
      {
        get: (_, name) => attributes.get(dashed(name)),
        set: (_, name, value) => Boolean(attributes.set(dashed(name), String(value))),
      },
    );
    const names = new Set();
    this.classList = {
      add: (...all) => all.forEach((name) => names.add(name)),
      remove: (...all) => all.forEach((name) => names.delete(name)),
      toggle: (name, on = !names.has(name)) => (on ? names.add(name) : names.delete(name)),
      contains: (name) => names.has(name),
    };
    Object.defineProperty(this, "className", {
      get: () => [...names].join(" "),
      set(all) {
        names.clear();
        all.split(" ").forEach((name) => names.add(name));
      },
    });
  }
  get children() {
    return this.childNodes.filter((node) => node instanceof Element);
  }
  get nextElementSibling() {
    const all = this.parentElement.children;
    return all[all.indexOf(this) + 1] || null;
  }
  get textContent() {
    return this.childNodes.map((node) => node.textContent).join("");
  }
  set textContent(text) {
    this.replaceChildren(text);
  }
  append(...nodes) {
    for (const node of nodes) {
      if (node instanceof Element && node.tagName === "#FRAGMENT") this.append(...node.childNodes);
      else {
        this.childNodes.push(node instanceof Element ? node : new Text(node.textContent ?? String(node)));
        if (node instanceof Element) node.parentElement = this;
      }
    }
  }
  replaceChildren(...nodes) {
    this.childNodes = [];
    this.append(...nodes);
  }
  hasAttribute(name) {
    return this.attributes.has(name);
  }
  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }
  setAttribute(name, value) {
    if (name === "class") this.className = String(value);
    this.attributes.set(name, String(value));
  }
  removeAttribute(name) {
    this.attributes.delete(name);
  }
  matches(selector) {
    return matches(this, selector);
  }
  closest(selector) {
    return this.matches(selector) ? this : this.parentElement && this.parentElement.closest(selector);
  }
  querySelectorAll(selector) {
    const all = this.children.flatMap((child) => [child, ...child.querySelectorAll("*")]);
    return selector === "*" ? all : all.filter((node) => node.matches(selector));
  }
  querySelector(selector) {
    return this.querySelectorAll(selector)[0] || null;
  }
  getBoundingClientRect() {
    return { left: 0, top: 0, right: 0, bottom: 0, width: 0, height: 0 };
  }
  focus() {
    this.ownerDocument.activeElement = this;
  }
  addEventListener() {}
}

/** A document with these elements in its body: { id: tag }. `fire` lets it hear of an event. @returns {any} */
function documentOf(layout) {
  const heard = [];
  const document = {
    activeElement: null,
    addEventListener: (type, act) => heard.push([type, act]),
    createElement: (tag) => new Element(tag, document),
    createElementNS: (_, tag) => new Element(tag, document),
    createDocumentFragment: () => new Element("#fragment", document),
    getElementById: (id) => document.documentElement.querySelector(`#${id}`),
    querySelector: (selector) => document.documentElement.querySelector(selector),
    querySelectorAll: (selector) => document.documentElement.querySelectorAll(selector),
    /** Whether the page took it. */
    fire(type, target, values = {}) {
      /** @type {any} */ const event = { type, target, defaultPrevented: false, ...values };
      event.preventDefault = () => {
        event.defaultPrevented = true;
      };
      for (const [name, act] of heard) if (name === type) act(event);
      return event.defaultPrevented;
    },
  };
  document.documentElement = document.createElement("html");
  for (const [id, tag] of Object.entries(layout)) {
    const node = document.createElement(tag);
    node.id = id;
    document.documentElement.append(node);
  }
  return document;
}

module.exports = { documentOf };
