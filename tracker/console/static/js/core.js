// What every page needs: texts, the API, times, and small building blocks.
import { inWords, refusal } from "./refusals.js";

export const locale = document.documentElement.lang || "ru";
const texts = await fetch(`/texts/${locale}.json`).then((r) => (r.ok ? r.json() : {}));

/** Text in the page's language; `{name}` is replaced by a value. */
export function t(message, values = {}) {
  const found = texts[message] ?? message;
  return found.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Whether the catalog has a text of this id: codes of a later release have none. */
export const known = (message) => message in texts;

export const role = document.body.dataset.role ?? "";
export const ownPosts = (document.body.dataset.posts ?? "").split(" ").filter(Boolean);
export const handlesAlerts = ["monitor", "officer", "admin"].includes(role);
export const confirmsArrivals = ["officer", "admin"].includes(role);

// ---------------------------------------------------------------- API

const SAY = {
  t, known, time: (iso) => time(iso).textContent,
  code: (family, code) => (known(`${family}.${code}`) ? t(`${family}.${code}`) : code.replaceAll("_", " ")),
};
/** What the API says of one thing, in the reader's words. */
export const said = (message) => inWords(message, SAY);

/** An answer of the API that is not a success; `message` is fit to be shown. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(refusal(problem, SAY));
    this.status = status;
    this.errors = problem.errors ?? [];
  }
}

const cookie = (name) =>
  document.cookie.split("; ").find((c) => c.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";

/** What proves that a request comes from our own page. */
export const csrf = () => decodeURIComponent(cookie("tracker_csrf"));

// After "Log out" the answers still on their way are refused: they must not lead elsewhere.
let leaving = false;
document.querySelector(".logout")?.addEventListener("submit", () => { leaving = true; });

/** The session has ended: log in, and come back to this page with its filter. */
export function logInAgain() {
  if (!leaving) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** Call the API. Throws ApiError; goes to the log-in when the session has ended. */
export async function api(path, { method = "GET", body, signal, headers: more = {} } = {}) {
  // The page's language, not the browser's: the API has texts of its own, such as reasons of risk.
  const headers = { Accept: "application/json", "Accept-Language": locale, ...more };
  if (method !== "GET") headers["X-CSRF-Token"] = csrf();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method, headers, signal, credentials: "same-origin",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { detail: t("No connection to the server.") });
  }
  if (answer.status === 401) {
    logInAgain();
    return new Promise(() => {}); // the page is being left
  }
  const data = answer.status === 204 ? null : await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(answer.status, data ?? {});
  return data;
}

/** All items of a paged list, at most `most`. */
export async function all(path, most = 5000) {
  const items = [];
  let cursor = null;
  do {
    const join = path.includes("?") ? "&" : "?";
    const more = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const page = await api(`${path}${join}limit=1000${more}`);
    items.push(...page.items);
    cursor = page.next ?? null;
  } while (cursor && items.length < most);
  return items;
}

// ---------------------------------------------------------------- times and numbers

const ZONE = "Asia/Almaty";
// Kazakh and Russian write dates and numbers alike, and not every browser knows Kazakh.
const LANG = locale === "en" ? "en-GB" : "ru-RU";
const dayTime = new Intl.DateTimeFormat(LANG, {
  timeZone: ZONE, day: "2-digit", month: "2-digit", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
});
const clock = new Intl.DateTimeFormat(LANG, { timeZone: ZONE, hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat("sv-SE", { timeZone: ZONE });
const amount = new Intl.NumberFormat(LANG, { maximumFractionDigits: 0 });

/** A `<time>` in Kazakhstan time; the hover shows UTC. Today's times are shown without the day. */
export function time(iso, { short = false } = {}) {
  if (!iso) return el("span", {}, "–");
  const at = new Date(iso);
  const today = short && day.format(at) === day.format(new Date());
  return el("time", { datetime: iso, title: `${at.toISOString().replace("T", " ").slice(0, 19)} UTC` },
    (today ? clock : dayTime).format(at));
}

/** Length of time in words: "2 h 5 min". */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return t("{n} s", { n: s });
  const min = Math.floor(s / 60);
  if (min < 60) return t("{n} min", { n: min });
  const h = Math.floor(min / 60);
  if (h < 48) return min % 60 ? t("{h} h {m} min", { h, m: min % 60 }) : t("{h} h", { h });
  return t("{d} d {h} h", { d: Math.floor(h / 24), h: h % 24 });
}

export const kzt = (value) => (value == null ? "–" : `${amount.format(value)} ₸`);
export const number = (value, digits = 0) =>
  value == null ? "–" : new Intl.NumberFormat(LANG, { maximumFractionDigits: digits }).format(value);
export const metres = (m) => (Math.abs(m) < 1000 ? t("{n} m", { n: number(m) }) : t("{n} km", { n: number(m / 1000, 1) }));
export const named = (thing) => thing?.[locale] ?? thing?.ru ?? thing?.en ?? "";

/** What a `datetime-local` field in Kazakhstan time (UTC+5, no summer time) means, as UTC. */
export const fromLocalField = (value) => new Date(`${value.length === 16 ? `${value}:00` : value}+05:00`).toISOString();
export const toLocalField = (date) => new Date(date.getTime() + 5 * 3600e3).toISOString().slice(0, 16);

// ---------------------------------------------------------------- building blocks

/** An element with attributes, `on…` listeners and children; text is never parsed as HTML. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && typeof value === "boolean") made[key] = value;
    else made.setAttribute(key === "className" ? "class" : key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((c) => c != null && c !== false));
  return made;
}

/**
 * New content in place of the old; the keyboard stays where it was: on the same button of the same
 * thing, else on the nearest.
 */
export function redraw(target, ...content) {
  const held = document.activeElement;
  const back = held !== target && target.contains(held) ? placeOf(held) : null;
  target.replaceChildren(...content);
  back?.();
}

/** Where the keyboard is; what comes back leads it there again, whatever was redrawn meanwhile. */
export function placeOf(held) {
  const target = held?.parentElement?.closest("[id]") ?? document.body;
  const things = () => [...target.querySelectorAll("[data-id]")];
  const thing = held?.closest("[data-id]");
  const at = things().indexOf(thing);
  return () => {
    const found = things();
    const same = thing && found.find((one) => one.dataset.id === thing.dataset.id);
    const near = same ?? found[Math.min(at, found.length - 1)] ?? target;
    const offers = [...near.querySelectorAll("button, a[href]")];
    const next = offers.find((one) => one.textContent === held.textContent && one.href === held.href) ?? offers[0];
    (next ?? document.getElementById("main")).focus({ preventScroll: true });
  };
}

/** Say something briefly at the edge of the page. */
export function toast(message, bad = false) {
  const note = el("p", { class: bad ? "toast bad" : "toast", role: bad ? "alert" : null }, message);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), bad ? 9000 : 4000);
}

/** Put an error with a way to try again in place of what could not be loaded. */
export function failed(target, error, retry) {
  target.replaceChildren(el("div", { class: "error", role: "alert" }, error.message, " ",
    el("button", { type: "button", class: "small", onclick: retry }, t("Try again"))));
  target.setAttribute("aria-busy", "false");
}

/** Rows of a definition list. */
export function facts(list, rows) {
  list.replaceChildren(...rows.filter(([, value]) => value != null && value !== "")
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}
