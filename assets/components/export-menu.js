/*
 * Files: figures as PNG and SVG are made here, of a figure that the server gives; HTML, CSV, runs and the report come
 * ready.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {Map<string, Promise<string>>} */ const fonts = new Map();

  const query = () => new URLSearchParams({ ...app.address.now(), stamp: app.stamp || "" });

  async function ask(/** @type {string} */ path, /** @type {URLSearchParams} */ values) {
    let reply;
    try {
      reply = await fetch(app.url(`export/${path}?${values}`));
    } catch {
      throw new Error("The server does not answer, so nothing was saved. Try again when it is back.");
    }
    if (reply.status === app.REPLACED) app.replaced(values.get("stamp") || "");
    if (!reply.ok) throw new Error(await reply.text());
    return reply;
  }
  function save(/** @type {Blob} */ blob, /** @type {string} */ name) {
    const address = URL.createObjectURL(blob);
    follow(address, name);
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }
  function follow(/** @type {string} */ address, /** @type {string} */ name) {
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    // else the open menu takes it for a click elsewhere
    link.addEventListener("click", (event) => event.stopPropagation());
    document.body.append(link);
    link.click();
    link.remove();
  }
  /** @param {number=} bytes */
  function megabytes(bytes) {
    return bytes ? `, ${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB` : "";
  }

  /** A file that the server makes: first whether it can, then the download, which the browser itself shows. */
  async function fromServer(/** @type {string} */ path) {
    const values = query();
    if (app.exportChoices.attention && path.startsWith("run.")) values.set("attention", "1");
    const { name, bytes } = await (await ask(path, new URLSearchParams([...values, ["check", "1"]]))).json();
    follow(app.url(`export/${path}?${values}`), name);
    return name + megabytes(bytes);
  }

  async function picture(/** @type {string} */ path) {
    const dot = path.lastIndexOf(".");
    const format = path.slice(dot + 1);
    const values = query();
    values.set("theme", app.exportChoices.ground ? document.documentElement.dataset.theme : "light");
    values.set("width", app.exportChoices.width);
    values.set("titled", app.exportChoices.bare ? "0" : "1");
    const found = await (await ask(`figure/${path.slice(0, dot)}.json`, values)).json();
    const source = await app.drawPicture(found);
    const name = found.name + format;
    if (format === "svg") save(new Blob([source], { type: "image/svg+xml" }), name);
    else save(await raster(source, found), name);
    return found.notes ? `${name}. ${found.notes}` : name;
  }

  /** What the server gives of a figure, as the text of an SVG. */
  app.drawPicture = async function (found) {
    return new XMLSerializer().serializeToString(await described(await drawn(found), found));
  };

  /** The figure as an SVG element, with the page's fonts in it. */
  async function drawn(/** @type {ExportedFigure} */ { figure, width, height }) {
    await document.fonts.ready;
    const address = await window.Plotly.toImage(
      { ...figure, config: { staticPlot: true } },
      { format: "svg", width, height },
    );
    const text = decodeURIComponent(address.slice(address.indexOf(",") + 1));
    return new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  }
  async function described(/** @type {HTMLElement} */ drawing, /** @type {ExportedFigure} */ found) {
    const make = (/** @type {string} */ tag, /** @type {string} */ text) => {
      const node = drawing.ownerDocument.createElementNS("http://www.w3.org/2000/svg", tag);
      node.textContent = text;
      return node;
    };
    app.drawCells(drawing, found.cells);
    app.sizeDrawing(drawing, found);
    const faces = await facesFor(drawing.textContent);
    drawing.setAttribute("role", "img");
    drawing.prepend(
      make("title", found.title),
      make("desc", found.description),
      make("metadata", JSON.stringify(found.provenance)),
      make("style", faces),
    );
    return drawing;
  }

  /** @font-face rules with the fonts themselves, of those that `text` needs. */
  async function facesFor(/** @type {string} */ text) {
    const points = new Set(Array.from(text, (character) => Number(character.codePointAt(0))));
    /** @type {[CSSFontFaceRule, string | null][]} */ const needed = [];
    for (const sheet of document.styleSheets) {
      let rules;
      try {
        rules = sheet.cssRules;
      } catch {
        continue;
      }
      for (const rule of rules) {
        if (rule instanceof CSSFontFaceRule && holds(rule.style.getPropertyValue("unicode-range"), points))
          needed.push([rule, sheet.href]);
      }
    }
    return (await Promise.all(needed.map(([rule, base]) => face(rule, base)))).join("\n");
  }
  function holds(/** @type {string} */ range, /** @type {Set<number>} */ points) {
    for (const part of range.split(",")) {
      const found = /U\+([0-9A-F]+)(?:-([0-9A-F]+))?/i.exec(part);
      if (!found) return true;
      const first = parseInt(found[1], 16);
      const last = found[2] ? parseInt(found[2], 16) : first;
      for (const point of points) if (point >= first && point <= last) return true;
    }
    return false;
  }
  async function face(/** @type {CSSFontFaceRule} */ rule, /** @type {string | null} */ base) {
    const [, source] = /** @type {string[]} */ (/url\("?([^")]+)"?\)/.exec(rule.style.getPropertyValue("src")));
    const address = new URL(source, base || window.location.href).href;
    if (!fonts.has(address))
      fonts.set(
        address,
        fetch(address)
          .then((reply) => reply.blob())
          .then(dataAddress),
      );
    const [family, range] = ["font-family", "unicode-range"].map((name) => rule.style.getPropertyValue(name));
    const from = `url("${await fonts.get(address)}") format("woff2")`;
    return `@font-face{font-family:${family};font-weight:100 900;src:${from};unicode-range:${range}}`;
  }
  function dataAddress(/** @type {Blob} */ blob) {
    return new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(new Error("A font of the page could not be read. Reload the page and try again."));
      reader.readAsDataURL(blob);
    });
  }

  async function raster(/** @type {string} */ source, /** @type {ExportedFigure} */ found) {
    const image = new Image();
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(source);
    try {
      await image.decode();
    } catch {
      throw new Error("This browser could not draw the picture. Save it as SVG.");
    }
    const { side, perMetre } = app.sizeOfPng(found);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = side;
    const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    paper.fillStyle = found.ground;
    paper.fillRect(0, 0, canvas.width, canvas.height);
    paper.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    if (!blob) throw new Error("The picture is too large for this browser. Save it as SVG.");
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const texts = {
      Title: found.title,
      Description: found.description,
      Software: found.program,
      "Creation Time": found.provenance.Exported,
      Source: found.provenance.Model,
      Comment: JSON.stringify(found.provenance),
    };
    const chunks = Object.entries(texts).map(([name, text]) => textChunk(name, text));
    if (perMetre) chunks.unshift(densityChunk(perMetre));
    const head = 8 + 25; // the signature and the first chunk
    return new Blob([bytes.slice(0, head), ...chunks, bytes.slice(head)], { type: "image/png" });
  }
  /** A PNG's iTXt chunk: UTF-8, not compressed. */
  function textChunk(/** @type {string} */ name, /** @type {string} */ text) {
    const encoder = new TextEncoder();
    return chunk("iTXt", encoder.encode(name), new Uint8Array(5), encoder.encode(text));
  }
  /** A PNG's pHYs chunk: pixels for a metre, both ways. */
  function densityChunk(/** @type {number} */ perMetre) {
    const body = new DataView(new ArrayBuffer(9));
    body.setUint32(0, perMetre);
    body.setUint32(4, perMetre);
    body.setUint8(8, 1); // the unit is the metre
    return chunk("pHYs", new Uint8Array(body.buffer));
  }
  function chunk(/** @type {string} */ kind, /** @type {Uint8Array[]} */ ...parts) {
    const body = [new TextEncoder().encode(kind), ...parts];
    const size = body.reduce((sum, part) => sum + part.length, 0);
    const made = new Uint8Array(8 + size);
    let at = 4;
    for (const part of body) {
      made.set(part, at);
      at += part.length;
    }
    const view = new DataView(made.buffer);
    view.setUint32(0, size - 4);
    view.setUint32(4 + size, checksum(made.subarray(4, 4 + size)));
    return made;
  }
  function checksum(/** @type {Uint8Array} */ bytes) {
    // CRC-32 of the PNG specification, annex D
    let sum = 0xffffffff;
    for (const byte of bytes) {
      sum ^= byte;
      for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
    }
    return (sum ^ 0xffffffff) >>> 0;
  }

  /** Beside the button, in its menu, and for those who do not see it. */
  function sign(/** @type {HTMLElement} */ button, /** @type {string} */ text) {
    const menu = /** @type {HTMLElement} */ (button.closest(".menu"));
    let line = menu.querySelector(".export-sign");
    if (!line) {
      line = app.make("div", "export-sign");
      menu.append(line);
    }
    line.textContent = text;
    app.say(text);
  }
  async function run(/** @type {HTMLElement} */ button) {
    if (button.getAttribute("aria-busy") === "true") return;
    const path = button.dataset.export;
    if (!app.state.selection) {
      sign(button, "There is no run yet. Run a text first.");
      return;
    }
    button.setAttribute("aria-busy", "true");
    sign(button, "Preparing …");
    try {
      const made = /\.(png|svg)$/.test(path)
        ? await picture(path)
        : await fromServer(path.includes("/") || /^(run|report)\./.test(path) ? path : "figure/" + path);
      sign(button, `Saved: ${made}`);
    } catch (error) {
      sign(button, "Not saved.");
      app.notify({ lead: "Not saved.", text: /** @type {Error} */ (error).message });
    } finally {
      button.removeAttribute("aria-busy");
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-export], button[data-export-choice]");
    if (!button) return;
    if (button.dataset.export) {
      run(button);
      return;
    }
    const { exportChoice: name, value } = button.dataset;
    app.chooseExport(name, value === undefined ? !app.exportChoices[name] : value);
    tick();
  });
  /** The radio buttons of one choice are one stop of the Tab key; arrows choose. */
  document.addEventListener(
    "keydown",
    (event) => {
      const box = event.target.closest && event.target.closest('[role="radiogroup"] > button[data-export-choice]');
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!box || !by) return;
      event.preventDefault();
      event.stopPropagation();
      const all = /** @type {HTMLElement[]} */ ([.../** @type {HTMLElement} */ (box.parentElement).children]);
      const next = all[(all.indexOf(box) + by + all.length) % all.length];
      next.focus();
      next.click();
    },
    true,
  );
  function tick() {
    for (const box of document.querySelectorAll("[data-export-choice]")) {
      const { exportChoice: name, value } = box.dataset;
      const checked = value === undefined ? app.exportChoices[name] : app.exportChoices[name] === value;
      box.setAttribute("aria-checked", String(checked));
      if (value !== undefined) box.tabIndex = checked ? 0 : -1;
    }
  }
  document.addEventListener("options-made", tick);
});
