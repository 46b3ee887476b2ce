/* What `make check` asks of the scripts: classic scripts that share one namespace, and their tests. */
const js = require("@eslint/js");
const globals = require("globals");

const rules = {
  ...js.configs.recommended.rules,
  eqeqeq: ["error", "always"],
  "max-len": ["error", { code: 120 }],
  "max-lines": ["error", 300],
  "no-var": "error",
  "prefer-const": "error",
};

module.exports = [
  {
    files: ["assets/**/*.js", "dashboard/exports/standalone.js", "benchmarks/probe.js"],
    languageOptions: { sourceType: "script", globals: { ...globals.browser } },
    rules,
  },
  {
    files: ["tests/js/**/*.js", "eslint.config.js"],
    languageOptions: { sourceType: "commonjs", globals: { ...globals.node } },
    rules,
  },
];
