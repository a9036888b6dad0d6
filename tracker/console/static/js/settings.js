// Thresholds of detection: what was set so far, and a form to set one from a time on.
import { all, api, el, failed, fromLocalField, number, role, t, time, toLocalField } from "./core.js";
import { anomalyName } from "./words.js";

const form = document.getElementById("set");
const state = form.querySelector(".form-state");
const list = document.getElementById("list");
const SCOPES = ["national", "post", "lane", "delivery"];
let names = new Map();

const scopeName = (scope) => t(`scope.${scope}`);

async function load() {
  list.setAttribute("aria-busy", "true");
  try {
    const items = await all("/settings/limits");
    list.replaceChildren(items.length ? table(items) : el("p", { class: "empty" }, t("Nothing has been set: the published thresholds are in force.")));
    list.setAttribute("aria-busy", "false");
  } catch (error) {
    failed(list, error, load);
  }
}

function table(items) {
  const heads = [t("In force from"), t("Scope"), t("Thresholds"), t("Reason"), t("Set by")];
  return el("table", {}, el("thead", {}, el("tr", {}, heads.map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, items.map((s) => el("tr", { "data-id": s.id },
      cell(heads[0], time(s.from)), cell(heads[1], `${scopeName(s.scope)} ${s.key ?? ""}`.trim()),
      cell(heads[2], el("code", {}, Object.entries(s.values).map(([n, v]) => `${n} = ${v == null ? "–" : number(v, 3)}`).join(", "))),
      cell(heads[3], s.reason), cell(heads[4], s.created_by)))));
}

const cell = (label, content) => el("td", { "data-label": label }, content);

function say(kind, message) {
  state.className = `form-state ${kind}`;
  state.textContent = message;
}

// Thresholds by the rule they are of; those of several rules stand with the first.
function grouped(items) {
  const groups = new Map();
  for (const one of items) {
    const title = one.codes.length ? anomalyName(one.codes[0]) : t("Other thresholds");
    groups.set(title, [...(groups.get(title) ?? []), el("option", { value: one.name }, one.name)]);
  }
  return [...groups].map(([title, options]) => el("optgroup", { label: title }, options));
}

function choose() {
  const one = names.get(form.elements.name.value);
  document.getElementById("bounds").textContent = one
    ? t("Published: {value}. From {least} to {most} {unit}", { value: number(one.default, 3), least: number(one.least, 3), most: number(one.most), unit: one.unit })
    : "";
  form.elements.key.disabled = form.elements.scope.value === "national";
}

async function start() {
  if (role !== "admin") return;
  const { items } = await api("/settings/limits/names");
  names = new Map(items.map((one) => [one.name, one]));
  form.elements.scope.append(...SCOPES.map((scope) => el("option", { value: scope }, scopeName(scope))));
  form.elements.name.append(...grouped(items));
  form.elements.from.value = toLocalField(new Date());
  document.getElementById("set-card").hidden = false;
  choose();
}

form.addEventListener("change", choose);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const text = String(fields.get("value") ?? "").trim().replace(",", ".");
  const value = text === "" ? null : Number(text);
  const body = { scope: fields.get("scope"), from: fromLocalField(fields.get("from")), values: { [fields.get("name")]: Number.isNaN(value) ? text : value }, reason: fields.get("reason") };
  if (fields.get("key")) body.key = fields.get("key").trim();
  say("", t("Sending…"));
  try {
    const made = await api("/settings/limits", { method: "POST", body });
    say("done", t("Set. Deliveries judged again: {n}", { n: made.deliveries_judged_again }));
    await load();
  } catch (error) {
    say("error", error.message);
  }
});

try {
  await start();
} catch (error) {
  say("error", error.message);
}
await load();
