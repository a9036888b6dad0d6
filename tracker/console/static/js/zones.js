// Zones: the list with its filter, the map, one zone with its history, and the form beside them.
import { all, api, el, facts, failed, fromLocalField, named, span, t, time, toast, toLocalField } from "./core.js";
import { KAZAKHSTAN, createMap, loadStyle, maplibregl, onTheme } from "./basemap.js";
import { ask } from "./dialogs.js";
import { OutlineEditor } from "./outline.js";
import { boundsOf } from "./overlay.js";
import { areaM2, geometryOf, partsOf } from "./shapes.js";
import { badge } from "./words.js";
import { ZoneForm } from "./zone_form.js";
import { KINDS, addZoneLayers, drawFormer, drawZones, frame, zoneAt } from "./zone_map.js";
import { areaText, inForce, kindHelp, kindName, phrase, said, stateOf, swatch } from "./zone_words.js";

const $ = (id) => document.getElementById(id);
const PAGE = 50;
const MOST = 20_000;
const NARROW = matchMedia("(max-width: 46rem)"); // where the map lies above the pane
const FINGER = matchMedia("(pointer: coarse)").matches;
const may = new Set($("zones").dataset.may.split(" "));
const filter = $("filter");

let map = null;
let zones = [];
let posts = [];
let shown = []; // zones that fit the filter
let page = 0;
let chosen = null; // code of the zone that is open
let undo = null; // how to take the last end back
let former = null; // code and number of the version whose outline is shown

const path = (code, rest = "") => `/zones/${encodeURIComponent(code)}${rest}`;
const versionsOf = async (code) => (await api(path(code, "/versions"))).items;

// ---------------------------------------------------------------- the list

async function load() {
  $("list").setAttribute("aria-busy", "true");
  try {
    [zones, posts] = await Promise.all([all("/zones", MOST), all("/posts", MOST)]);
    zones.sort((a, b) => named(a.name).localeCompare(named(b.name)));
    showList();
    $("list").setAttribute("aria-busy", "false");
  } catch (error) {
    failed($("list"), error, load);
    throw error;
  }
}

const fits = {
  "": (state) => state !== "over",
  all: () => true,
  now: (state) => state === "now",
  later: (state) => state === "later",
  over: (state) => state === "over",
};

function showList() {
  const { q, kind, state } = Object.fromEntries(new FormData(filter));
  const wanted = q.trim().toLowerCase();
  const speaks = (z) => [z.code, ...Object.values(z.name)].some((text) => text.toLowerCase().includes(wanted));
  shown = zones.filter((z) => (!kind || z.kind === kind) && fits[state](stateOf(z)) && speaks(z));
  page = Math.min(page, Math.max(0, Math.ceil(shown.length / PAGE) - 1));
  const part = shown.slice(page * PAGE, (page + 1) * PAGE);
  $("found").textContent = shown.length;
  $("list").replaceChildren(part.length ? el("ul", { class: "zone-list" }, part.map(item)) : nothing());
  $("pager").hidden = shown.length <= PAGE;
  $("pager").querySelector("[data-page=back]").disabled = page === 0;
  $("pager").querySelector("[data-page=on]").disabled = (page + 1) * PAGE >= shown.length;
  $("page-no").textContent = t("Page {n}", { n: page + 1 });
  draw();
}

function nothing() {
  if (zones.length) {
    return el("div", { class: "empty" }, el("p", {}, t("No zone fits this filter.")),
      el("button", { type: "button", class: "small", onclick: () => { filter.reset(); refilter(); } }, t("Clear the filter")));
  }
  return el("div", { class: "empty" }, el("p", {}, t("There are no zones yet.")),
    may.has("create") && el("p", {}, t("Draw the first one, or load reference data: tracker reference.")));
}

function item(z) {
  return el("li", {}, el("a", { href: `?zone=${encodeURIComponent(z.code)}`, "data-code": z.code }, swatch(z.kind),
    el("span", { class: "zone-item" }, el("b", {}, named(z.name)),
      el("span", { class: "hint" }, `${kindName(z.kind)} · ${z.code}`)), stateBadge(z)));
}

function stateBadge(z) {
  const state = stateOf(z);
  if (state === "now") return z.valid_to ? badge(t("for a time"), "medium") : "";
  return badge(state === "later" ? t("to come") : t("over"), state === "later" ? "low" : "info");
}

function refilter() {
  page = 0;
  showList();
  const address = new URLSearchParams([...new FormData(filter)].filter(([, value]) => value));
  history.replaceState(null, "", `${location.pathname}${address.size ? `?${address}` : ""}`);
}

// ---------------------------------------------------------------- one zone

const VIEWS = ["view-list", "view-zone", "view-form"];

function show(view) {
  for (const id of VIEWS) if ($(id)) $(id).hidden = id !== view;
}

/** Go to a zone (or, without a code, to the list) and say so in the address. */
function go(code) {
  const address = new URLSearchParams([...new FormData(filter)].filter(([, value]) => value));
  if (code) address.set("zone", code);
  history.pushState(null, "", `${location.pathname}${address.size ? `?${address}` : ""}`);
  return open(code);
}

async function open(code, { still = false } = {}) {
  const before = chosen;
  if (code !== undo?.code) undo = null;
  chosen = code ?? null;
  former = null;
  if (!code) {
    show("view-list");
    draw();
    document.querySelector(`[data-code="${CSS.escape(before ?? "")}"]`)?.focus();
    return;
  }
  show("view-zone");
  draw();
  try {
    const versions = await versionsOf(code);
    if (chosen !== code) return;
    const zone = zones.find((z) => z.code === code) ?? versions.at(-1);
    if (!still) look(zone);
    showZone(zone, versions);
  } catch (error) {
    const words = error.status === 404 ? new Error(t("There is no zone {code}.", { code })) : error;
    $("view-zone").replaceChildren(backLink(), el("div", { class: "scroll" }));
    failed($("view-zone").lastChild, words, () => open(code));
  }
}

const look = (zone) => { if (map) frame(map, [zone.geometry]); };
const backLink = () => el("p", { class: "crumb pane-crumb" }, el("a", { href: "?", id: "all-zones" }, `← ${t("All zones")}`));

function showZone(zone, versions) {
  const newest = versions.at(-1);
  const owners = posts.filter((p) => p.zone_code === zone.code);
  $("view-zone").replaceChildren(
    backLink(),
    el("header", { class: "pane-head" }, el("h2", { id: "zone-title", tabindex: "-1" }, named(zone.name)), stateBadge(zone)),
    el("div", { class: "scroll" },
      undoBar(),
      zoneFacts(zone, owners),
      buttons(zone, newest, owners),
      el("h3", {}, t("History")),
      el("ol", { class: "timeline", id: "history" }, versions.map((v, i) => version(v, versions[i - 1], newest)).reverse())));
  $("zone-title").focus({ preventScroll: true });
}

function zoneFacts(zone, owners) {
  const list = el("dl", { class: "facts" });
  const other = ["ru", "kk", "en"].map((l) => zone.name[l]).filter((name) => name && name !== named(zone.name));
  facts(list, [
    [t("Kind"), el("span", {}, swatch(zone.kind), " ", kindName(zone.kind), el("span", { class: "hint block" }, kindHelp(zone.kind)))],
    [t("Code"), el("code", {}, zone.code)],
    [t("Other names"), [...new Set(other)].join(" · ")],
    [t("In force"), inForce(zone)],
    [t("Longest stop"), zone.max_dwell_s != null && span(zone.max_dwell_s) || t("no limit")],
    [t("Area"), areaText(areaM2(partsOf(zone.geometry)))],
    [t("Zone of the post"), owners.map((p) => named(p.name)).join(", ")],
  ]);
  return list;
}

function buttons(zone, newest, owners) {
  const over = stateOf(newest) === "over";
  const act = (id, words, onclick, more = {}) => el("button", { type: "button", id, onclick, ...more }, words);
  return el("div", { class: "row acts" },
    may.has("change") && act("change", over ? t("Put in force again") : t("Change"), () => edit(newest), { class: "primary" }),
    may.has("change") && !over && !owners.length && act("end", t("End…"), () => end(newest), { class: "danger" }),
    map && act("look", t("Show on the map"), () => { look(zone); $("map").scrollIntoView({ block: "nearest" }); }),
    may.has("change") && !over && owners.length > 0 && el("p", { class: "hint" }, t("The zone of a post cannot be ended, only changed.")));
}

// ---------------------------------------------------------------- its history

function version(v, before, newest) {
  const outline = el("button", { type: "button", class: "small quiet", "aria-pressed": "false", onclick: () => toggleFormer(v) }, t("Outline on the map"));
  outline.dataset.version = v.id;
  return el("li", { "data-version": v.version },
    el("h4", {}, t("Version {n}", { n: v.version }), v.id === newest.id ? badge(t("newest")) : ""),
    el("p", {}, t("In force"), ": ", inForce(v)),
    el("p", { class: "hint" }, changes(v, before)),
    el("p", { class: "hint" }, phrase(t("Entered {time}"), { time: time(v.created_at) }), v.created_by && ` · ${v.created_by}`),
    v.ended_at && el("p", { class: "hint" }, phrase(t("Ended by hand {time}"), { time: time(v.ended_at) }), v.ended_by && ` · ${v.ended_by}`),
    map && outline);
}

function changes(v, before) {
  if (!before) return t("First version");
  const differs = (read) => JSON.stringify(read(v)) !== JSON.stringify(read(before));
  const found = [
    [(z) => z.geometry, t("outline")], [(z) => z.kind, `${t("kind")}: ${kindName(before.kind)} → ${kindName(v.kind)}`],
    [(z) => z.name, t("name")], [(z) => z.max_dwell_s, t("longest stop")],
  ].filter(([read]) => differs(read)).map(([, words]) => words);
  return found.length ? t("Changed: {what}", { what: found.join(", ") }) : t("Only the time in force has changed");
}

function toggleFormer(v) {
  former = former?.id === v.id ? null : v;
  for (const button of $("history").querySelectorAll("[data-version].small")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.version) === former?.id));
  }
  if (!map) return;
  drawFormer(map, former?.geometry);
  const present = zones.find((z) => z.code === v.code);
  if (former) frame(map, [former.geometry, ...(present ? [present.geometry] : [])]);
}

// ---------------------------------------------------------------- ending, and taking it back

async function end(zone) {
  const uses = await api(path(zone.code, "/uses")).catch((error) => { toast(error.message, true); return null; });
  if (!uses) return;
  const begins = zone.valid_from && new Date(zone.valid_from) > Date.now();
  const least = begins ? toLocalField(new Date(new Date(zone.valid_from).getTime() + 60e3)) : "";
  ask(t("End the zone {name}?", { name: named(zone.name) }), [
    el("p", { class: "hint" }, t("From then on it is not in force. It stays in the history, and records before that are judged by it as ever. Deliveries under way are judged again.")),
    uses.routes.length ? el("p", { class: "warn" }, t("It is a checkpoint of {routes}: from then on nobody is told when it is missed.", { routes: uses.routes.join(", ") })) : "",
    el("label", {}, t("From when on (Kazakhstan)"), el("input", { type: "datetime-local", name: "at", value: least }),
      el("span", { class: "hint" }, t("Empty: from now on. It may lie in the past."))),
  ], t("End the zone"), async (fields) => {
    const at = fields.get("at") ? `?at=${encodeURIComponent(fromLocalField(fields.get("at")))}` : "";
    const ended = await api(path(zone.code, at), { method: "DELETE", headers: { "If-Match": `"${zone.version}"` } }).catch((error) => { throw new Error(refusal(error)); });
    return async () => {
      undo = { code: zone.code, before: zone, ended };
      await reload(zone.code);
    };
  });
}

function refusal(error) {
  if (error.status === 412) return t("Somebody has changed this zone in the meantime. Close this window and look at its newest version.");
  return error.errors?.length ? error.errors.map((e) => said(e.msg)).join(" ") : error.message;
}

function undoBar() {
  if (!undo) return "";
  return el("div", { class: "undo-bar", role: "status" }, el("p", {}, phrase(t("The zone ends {time}."), { time: time(undo.ended.valid_to) })),
    undo.ended.warnings.length ? el("p", {}, t("It was a checkpoint of a route: nobody is told any more when it is missed.")) : null,
    el("button", { type: "button", class: "small", id: "undo", onclick: takeBack }, t("Take it back")));
}

/** A version like the one that was ended, from the moment of its end on: there is no gap. */
async function takeBack(event) {
  event.currentTarget.disabled = true;
  const { code, before, ended } = undo;
  const { name, kind, geometry, max_dwell_s, valid_to } = before;
  try {
    const body = { name, kind, geometry, max_dwell_s, valid_from: ended.valid_to, valid_to };
    await api(path(code), { method: "PUT", body, headers: { "If-Match": `"${ended.version}"` } });
    toast(t("Taken back: the zone is in force without a gap."));
  } catch (error) {
    toast(refusal(error), true);
  }
  undo = null;
  await reload(code);
}

async function reload(code) {
  const kept = undo;
  await load().catch(() => {}); // the list itself says what is wrong
  undo = kept;
  await open(code, { still: true });
}

// ---------------------------------------------------------------- the form

let form = null;
const editor = new OutlineEditor({ onchange: () => form?.outlineChanged(), ondraw: showDrawing });

function edit(base) {
  undo = null;
  former = null;
  show("view-form");
  form.start(base);
  draw();
  if (map) drawFormer(map, base?.geometry);
  if (base) look(base);
}

function closeForm() {
  form.close();
  return open(chosen, { still: true });
}

/** Do what leads away from the form, if nothing would be lost, or it may be. */
function leave(act) {
  if (!form?.open || !form.dirty) return act();
  ask(t("Discard what you have entered?"), [], t("Discard"), async () => act);
}

function showDrawing(note = "") {
  const bar = $("draw-bar");
  if (!bar) return;
  if (!bar.hidden && !editor.drawing && NARROW.matches && editor.parts.length) {
    // On a phone the map shrinks again: what was drawn stays in sight.
    map.once("resize", () => frame(map, [geometryOf(editor.parts)], { animate: false }));
  }
  bar.hidden = !editor.drawing;
  $("zones").classList.toggle("drawing", editor.drawing);
  $("crosshair").hidden = !editor.drawing;
  const n = editor.corners;
  $("draw-hint").textContent = note === "few" || n > 0 && n < 3
    ? t("Corners: {n}. Three at least.", { n })
    : FINGER ? n ? t("Corners: {n}. Tap the first one to finish.", { n }) : t("Tap the map to set corners.")
    : n ? t("Corners: {n}. Double click or Enter finishes, Backspace takes the last one back, Esc cancels.", { n })
      : t("Click to set corners. By keyboard: arrows move the map, the space bar sets a corner in its middle.");
  bar.querySelector("[data-draw=back]").disabled = n === 0;
  bar.querySelector("[data-draw=finish]").disabled = n < 3;
}

function startForm() {
  form = new ZoneForm(editor, {
    versions: versionsOf,
    onpasted: (parts) => { if (map && parts.length) frame(map, [geometryOf(parts)]); },
    onsaved: async (zone) => {
      form.close();
      toast(t("Saved. Deliveries under way are judged again."));
      await load().catch(() => {}); // the list itself says what is wrong
      go(zone.code);
    },
    nearHome: (parts) => {
      const [[west, south], [east, north]] = boundsOf(geometryOf(parts));
      return west < KAZAKHSTAN[1][0] && east > KAZAKHSTAN[0][0] && south < KAZAKHSTAN[1][1] && north > KAZAKHSTAN[0][1];
    },
  });
  $("new")?.addEventListener("click", () => edit(null));
  $("form-cancel").addEventListener("click", () => leave(closeForm));
  $("draw-bar").addEventListener("click", ({ target }) => {
    const act = target.dataset.draw;
    if (act === "back") editor.back();
    if (act === "cancel") editor.cancel();
    if (act === "finish") editor.finish();
  });
}

// ---------------------------------------------------------------- the map

function draw() {
  if (!map) return;
  const changed = form?.open ? chosen : null; // its draft is shown instead
  const open = zones.filter((z) => z.code === chosen && !shown.includes(z));
  drawZones(map, [...shown, ...open].filter((z) => z.code !== changed), chosen);
  drawFormer(map, former?.geometry);
}

async function startMap() {
  try {
    map = await createMap("map");
    addZoneLayers(map);
    editor.attach(map);
    onTheme(async () => {
      map.setStyle(await loadStyle(), { diff: false });
      map.once("style.load", () => { addZoneLayers(map); editor.addLayers(); draw(); });
    });
    pointing();
    $("map-state").hidden = true;
  } catch (error) {
    $("map-state").replaceChildren(el("span", { class: "error", role: "alert" }, error.message));
    for (const button of document.querySelectorAll("[data-outline=draw], [data-outline=part]")) button.disabled = true;
  }
}

function pointing() {
  const popup = new maplibregl.Popup({ closeButton: false, offset: 10, maxWidth: "18rem" });
  map.on("movestart", () => { delete $("map").dataset.still; });
  map.on("idle", () => { $("map").dataset.still = "true"; });
  map.on("click", (event) => {
    const hit = !editor.active && zoneAt(map, event.point);
    if (hit) go(hit.code);
  });
  map.on("mousemove", (event) => {
    if (editor.active) { popup.remove(); return; }
    const hit = zoneAt(map, event.point);
    map.getCanvas().style.cursor = hit ? "pointer" : "";
    if (hit) popup.setLngLat(event.lngLat).setText(`${hit.name} · ${kindName(hit.kind)}`).addTo(map);
    else popup.remove();
  });
  map.on("mouseout", () => popup.remove());
}

// ---------------------------------------------------------------- clicks and keys

document.querySelector(".zones-pane").addEventListener("click", (event) => {
  const link = event.target.closest("a[data-code], #all-zones");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.dataset.code);
});

$("pager").addEventListener("click", ({ target }) => {
  const step = { back: -1, on: 1 }[target.dataset.page];
  if (!step) return;
  page += step;
  showList();
  $("list").scrollTop = 0;
});

let typing;
filter.addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(refilter, event.target.type === "search" ? 200 : 0);
});
filter.addEventListener("submit", (event) => { event.preventDefault(); refilter(); });

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  const inField = event.target.closest?.("input, textarea, select");
  if (event.key === "Escape" && !editor.drawing) back(event, inField);
  else if (event.key === "ArrowDown" && event.target === filter.elements.q) along(event);
  else if (inField) return;
  else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !$("view-list").hidden) along(event);
  else if (event.key === "/" && !$("view-list").hidden) { event.preventDefault(); filter.elements.q.focus(); }
  else if (event.code === "KeyN" && $("new") && !$("view-list").hidden) { event.preventDefault(); edit(null); }
});

function back(event, inField) {
  if (form?.open) { event.preventDefault(); leave(closeForm); }
  else if (!$("view-zone").hidden) { event.preventDefault(); go(null); }
  else if (inField) inField.blur();
}

/** From one zone of the list to the next. */
function along(event) {
  const links = [...$("list").querySelectorAll("a[data-code]")];
  if (event.target.closest?.("#map") || !links.length) return;
  const at = links.indexOf(document.activeElement);
  const step = event.key === "ArrowDown" ? 1 : -1;
  event.preventDefault();
  links[Math.min(links.length - 1, Math.max(0, at < 0 ? 0 : at + step))].focus();
}

addEventListener("popstate", () => {
  const code = new URLSearchParams(location.search).get("zone");
  if (form?.open && form.dirty) {
    history.pushState(null, "", `?zone=${encodeURIComponent(chosen ?? "")}`);
    return leave(() => { form.close(); open(code); });
  }
  if (form?.open) form.close();
  return open(code);
});

// ---------------------------------------------------------------- start

filter.elements.kind.append(...KINDS.map((kind) => el("option", { value: kind }, kindName(kind))));
$("legend").append(...KINDS.map((kind) => el("li", {}, swatch(kind), kindName(kind))));
const asked = new URLSearchParams(location.search);
for (const field of filter.elements) if (asked.has(field.name)) field.value = asked.get(field.name);
if ($("form")) startForm();
await Promise.allSettled([load(), startMap()]);
if (map) {
  frame(map, zones.filter((z) => z.kind !== "territory").map((z) => z.geometry), { animate: false });
  draw();
  map.once("idle", () => { $("map").dataset.ready = "true"; });
  map.triggerRepaint();
}
if (asked.get("zone")) await open(asked.get("zone"));
