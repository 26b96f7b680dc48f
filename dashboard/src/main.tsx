import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { queryClient } from "./api/query.ts";
import { router } from "./app/router.tsx";
import "./main.css";
import { preferredLanguage, setLanguage, useLanguage } from "./texts/index.ts";
import { applyTheme } from "./ui/theme.ts";

/** Another language draws everything anew. */
function App() {
  return <RouterProvider key={useLanguage()} router={router} />;
}

async function start(root: HTMLElement): Promise<void> {
  applyTheme();
  await setLanguage(preferredLanguage(), false);
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queryClient}>
        <App />
      </QueryClientProvider>
    </StrictMode>,
  );
}

const root = document.getElementById("root");
if (root) void start(root);
