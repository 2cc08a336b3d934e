import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The controller serves the page under `default-src 'self'`: nothing may be inlined.
export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
