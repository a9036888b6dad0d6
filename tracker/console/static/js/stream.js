// Server-Sent Events with a visible state: the browser resumes by Last-Event-ID, we add patience.
import { api, t } from "./core.js";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15000;

/**
 * Listen to the stream. `handlers` maps event names to functions of the parsed data;
 * `onresume` is called after every interruption, to fetch what may have been missed.
 * Resolves once the stream is open, or cannot be for now: what is read after that misses nothing.
 */
export function listen(handlers, { banner, onresume, path = "/api/v1/stream" } = {}) {
  let source;
  let lost = false;
  let wait = FIRST_WAIT_MS;
  let lastId = "";
  let begun;
  const opened = new Promise((resolve) => { begun = resolve; });

  const show = (message) => {
    if (!banner) return;
    banner.hidden = !message;
    banner.textContent = message ?? "";
  };

  function connect() {
    const join = path.includes("?") ? "&" : "?";
    source = new EventSource(lastId ? `${path}${join}last_event_id=${encodeURIComponent(lastId)}` : path);
    source.onopen = () => {
      wait = FIRST_WAIT_MS;
      begun();
      show(null);
      if (lost) onresume?.();
      lost = false;
    };
    source.onerror = () => {
      lost = true;
      begun();
      show(t("Connection lost. What you see may be out of date; reconnecting…"));
      // The browser retries by itself unless the answer was final (a restart behind a proxy, 503).
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(connect, (wait = Math.min(wait * 2, LONGEST_WAIT_MS)));
      // Nor does it tell why: where the session has ended, no wait helps, and this leads to the log-in.
      api("/me").catch(() => {});
    };
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) lastId = event.lastEventId;
        handle(JSON.parse(event.data));
      });
    }
  }

  connect();
  addEventListener("online", () => source.readyState === EventSource.CLOSED && connect());
  addEventListener("pagehide", () => source.close());
  return opened;
}
