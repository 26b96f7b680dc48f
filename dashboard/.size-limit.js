import { readFileSync } from "node:fs";

const BUILT = "../gateway/pages/dashboard/";
/** What whoever has just signed in waits for. */
const FIRST_SCREEN = [
  "index.html",
  "src/app/kill-switch.tsx",
  "src/app/step-up.tsx",
  "src/pages/conversations/page.tsx",
  "src/texts/pt-BR.json",
];
const manifest = JSON.parse(readFileSync(`${BUILT}.vite/manifest.json`, "utf-8"));

/** Every script that some parts load before they can show anything. */
function scripts(parts, found = new Set()) {
  for (const part of parts) {
    const { file, imports = [] } = manifest[part];
    if (found.has(file)) continue;
    found.add(file);
    scripts(imports, found);
  }
  return found;
}

export default [
  {
    name: "first screen",
    path: [...scripts(FIRST_SCREEN)].map((file) => BUILT + file),
    limit: "150 kB",
    gzip: true,
  },
  { name: "charts", path: `${BUILT}assets/day-bars-*.js`, limit: "120 kB", gzip: true },
  { name: "all of it", path: `${BUILT}assets/*.js`, limit: "600 kB", gzip: true },
];
