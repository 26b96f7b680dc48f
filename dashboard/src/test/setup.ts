import { cleanup } from "@testing-library/react";
import { afterEach } from "vitest";
import { setLanguage } from "../texts/index.ts";

await setLanguage("en", false);
afterEach(cleanup);
