import { expect, test } from "vitest";
import { pageOf } from "./page-of.ts";

test.each([
  [undefined, "/conversations"],
  ["/board?board=sales", "/board?board=sales"],
  ["https://elsewhere.example/board", "/conversations"],
  ["//elsewhere.example", "/conversations"],
  ["/\\elsewhere.example", "/conversations"],
  ["javascript:alert(1)", "/conversations"],
])("after the sign-in %s leads to %s", (back, page) => {
  expect(pageOf(back)).toBe(page);
});
