/* What the tests use of Node. */
declare module "node:test" {
  export function test(name: string, act: () => void | Promise<void>): Promise<void>;
}
declare module "node:assert/strict" {
  interface Assert {
    (value: unknown, message?: string): asserts value;
    ok(value: unknown, message?: string): asserts value;
    equal<T>(actual: T, expected: unknown, message?: string): void;
    notEqual(actual: unknown, expected: unknown, message?: string): void;
    deepEqual(actual: unknown, expected: unknown, message?: string): void;
    throws(act: () => unknown, expected?: RegExp): void;
    match(text: string, expected: RegExp): void;
  }
  const assert: Assert;
  export = assert;
}
declare module "node:fs" {
  export function readFileSync(path: string, encoding: "utf-8"): string;
}
declare module "node:path" {
  export function join(...parts: string[]): string;
}
declare module "node:vm" {
  export function createContext(globals: object): object;
  export function runInContext(code: string, context: object, options: { filename: string }): unknown;
}
declare const __dirname: string;
declare const module: { exports: unknown };
declare function require(name: string): any;
