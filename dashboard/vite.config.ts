import { readFileSync } from "node:fs";
import { compileMessage } from "@lingui/message-utils/compileMessage";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";
import { PAGES } from "./src/app/pages.ts";

/** Compiles the texts' ICU messages here, so that no parser travels to the browser. */
function texts(): Plugin {
  return {
    name: "texts",
    enforce: "pre",
    load(id) {
      if (!/\/src\/texts\/[\w-]+\.json$/.test(id)) return undefined;
      const messages = JSON.parse(readFileSync(id, "utf-8")) as Record<string, string>;
      const compiled = Object.entries(messages).map(([key, text]) => [key, compileMessage(text)]);
      return { code: `export default ${JSON.stringify(Object.fromEntries(compiled))}`, moduleType: "js" };
    },
  };
}

/** Tells the gateway which addresses are pages. */
function pages(): Plugin {
  return {
    name: "pages",
    apply: "build",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: "pages.json", source: JSON.stringify(PAGES) });
    },
  };
}

export default defineConfig({
  plugins: [texts(), pages(), react(), tailwindcss()],
  build: {
    outDir: "dist",
    target: "es2023",
    // The policy of the page allows no inline files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    emptyOutDir: true,
    // What each page loads is measured by it.
    manifest: true,
    rolldownOptions: { output: { entryFileNames: "assets/main-[hash].js" } },
  },
  test: { environment: "jsdom", isolate: false, include: ["src/**/*.test.{ts,tsx}"], setupFiles: ["src/test/setup.ts"] },
});
