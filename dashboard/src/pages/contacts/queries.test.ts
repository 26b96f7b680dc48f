import { expect, test } from "vitest";
import { filterOf } from "./queries.ts";

test.each([
  ["  Ana ", { name: "Ana" }],
  ["(11) 99000-4821", { phone: "(11) 99000-4821" }],
  ["+5511990004821", { phone: "+5511990004821" }],
  ["1234", { name: "1234" }],
  [" ", {}],
])("%s is searched as %o", (typed, filter) => {
  expect(filterOf(typed)).toEqual(filter);
});
