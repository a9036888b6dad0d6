// One delivery: facts, times, track, anomalies with evidence, the sum of risk, alerts to handle.
import { all, api, confirmsArrivals, el, facts, failed, handlesAlerts, known, kzt, metres, named, number, ownPosts, redraw, role, said, span, t, time, toast } from "./core.js";
import { alertStatusName, anomalyName, badge, corridorName, directionName, evidenceRows, findingName, historyName, historyText, levelBadge, measureName, period, severityBadge, statusBadge } from "./words.js";
import { actName, actionsOf, assignAlert, commentAlert, incidentName, stepName } from "./acts.js";
import { createMap, loadStyle, onTheme } from "./basemap.js";
import { Fleet, addOverlay, boundsOf, showAnomalies, showPosts, showRoutes, showTrack, showZones } from "./overlay.js";
import { acknowledge, dueText, escalationBadge } from "./alerts.js";
import { confirmArrival, decisionRows, releaseDelivery, resolveAlert, sealsOf } from "./dialogs.js";
import { listen } from "./stream.js";

const $ = (id) => document.getElementById(id);
const ID = $("delivery").dataset.id;
const ON_THE_ROAD = ["released", "in_transit", "overdue", "enquiry"];

const now = { delivery: null, alerts: [], anomalies: [], risk: null, track: null, posts: [] };

// ---------------------------------------------------------------- head and facts

function showHead() {
  const d = now.delivery;
  $("number").textContent = d.registration_number;
  document.title = `${d.registration_number} · ${document.title.split(" · ").pop()}`;
  $("badges").replaceChildren(statusBadge(d.status), ...(now.risk?.level ? [levelBadge(now.risk.level)] : []),
    d.settled === false ? badge(t("Being evaluated…")) : "");
  redraw($("actions"), ...actions(d));
}

function actions(d) {
  const made = [];
  const atPost = role === "admin" || ownPosts.includes(d.destination_post);
  const leaves = role === "admin" || role === "officer" && ownPosts.includes(d.departure_post);
  if (d.status === "declared" && leaves) {
    made.push(el("button", { class: "primary", type: "button", onclick: () => releaseDelivery(d, refresh) }, t("Release")));
  }
  if (confirmsArrivals && atPost && ON_THE_ROAD.includes(d.status)) {
    made.push(el("button", { class: "primary", type: "button", id: "confirm-arrival", onclick: () =>
      confirmArrival(d, sealsOf(d), refresh) }, t("Confirm the arrival")));
  }
  return [...made, ...actionsOf(d, refresh)];
}

const postName = (code) => named(now.posts.find((p) => p.code === code)?.name) || code;

function showFacts() {
  const d = now.delivery;
  const v = d.vehicle ?? {};
  facts($("facts"), [
    [t("Direction"), directionName(d.direction)],
    [t("From"), postName(d.departure_post)],
    [t("To"), postName(d.destination_post)],
    [t("Vehicle"), [v.plate, v.country && `(${v.country})`].filter(Boolean).join(" ")],
    [t("Trailer"), v.trailer], [t("Container"), v.container],
    [t("Carrier"), d.carrier_name],
    [t("Declarant"), d.declarant_name],
    [t("Devices"), (d.bindings ?? []).map((b) => b.device_id).filter(Boolean).join(", ")],
    [t("Last position"), lastPosition(d.last_position)],
  ]);
  $("goods").replaceChildren(goodsTable(d.goods ?? []));
  const arrival = (d.acts ?? []).findLast((act) => act.kind === "arrival");
  $("arrival-card").hidden = !arrival?.data.corridor;
  if (arrival) facts($("arrival"), decisionRows(arrival.data));
}

function lastPosition(p) {
  if (!p) return t("none yet");
  const far = p.distance_m == null ? "" : ` · ${t("{distance} from the route", { distance: metres(p.distance_m) })}`;
  const speed = p.speed_kmh == null ? "" : ` · ${t("{n} km/h", { n: number(p.speed_kmh) })}`;
  return el("span", {}, time(p.t, { short: true }), speed + far);
}

function goodsTable(goods) {
  return el("table", { class: "sum" }, el("tbody", {}, goods.map((g) => el("tr", {},
    el("td", {}, `${g.hs_code ?? ""} ${g.description ?? ""}`.trim(),
      el("div", { class: "hint" }, [g.gross_kg != null && t("{n} kg", { n: number(g.gross_kg) }), g.payments_at_stake_kzt != null && t("payments at stake {sum}", { sum: kzt(g.payments_at_stake_kzt) })].filter(Boolean).join(" · "))),
    el("td", {}, kzt(g.value_kzt))))));
}

function showTimes() {
  const d = now.delivery;
  const end = d.arrived_at ? new Date(d.arrived_at) : new Date();
  const left = (new Date(d.deadline) - end) / 1000;
  const norm = left >= 0
    ? badge(d.arrived_at ? t("kept, {span} to spare", { span: span(left) }) : t("{span} left", { span: span(left) }), "good")
    : badge(t("exceeded by {span}", { span: span(-left) }), "critical", "critical");
  facts($("times"), [
    [t("Registered"), d.declared_at && time(d.declared_at)],
    [t("Planned departure"), d.scheduled_departure && time(d.scheduled_departure)],
    [t("Released"), d.released_at ? time(d.released_at) : null],
    [t("On the road"), d.released_at && span((end - new Date(d.released_at)) / 1000)],
    [t("Deadline"), time(d.deadline)],
    [t("Time norm"), norm],
    [t("Arrived"), d.arrived_at && time(d.arrived_at)],
    ...(d.steps ?? []).filter((s) => s.step !== "journey").map((s) => [stepName(s.step), stepNorm(s)]),
  ]);
}

function stepNorm(s) {
  const norm = span(s.norm_s);
  if (s.kept === false) return badge(s.done_at ? t("{span} of {norm}", { span: span(s.taken_s), norm }) : t("not done in {norm}", { norm }), "critical", "critical");
  return badge(s.done_at ? t("{span} of {norm}", { span: span(s.taken_s), norm }) : t("due in {span}", { span: span((new Date(s.due_at) - Date.now()) / 1000) }), s.kept ? "good" : "info");
}

// ---------------------------------------------------------------- what people did

const SHOWN = ["code", "text", "place", "reason", "remarks", "result", "kind", "amount_kzt", "post"];

function showActs() {
  const acts = [...(now.delivery.acts ?? [])].reverse();
  $("acts").replaceChildren(...(acts.length ? acts.map(actItem) : [el("li", { class: "empty" }, t("Nothing has been recorded yet."))]));
}

/** A field of an act in the reader's words: its codes are the API's. */
function actWords(act, name) {
  const value = act.data[name];
  if (name === "post") return value && postName(value);
  if (name === "code" && act.kind === "incident") return incidentName(value);
  if (name === "kind" && act.kind === "control") return measureName(value);
  if (name === "amount_kzt") return value && kzt(value);
  const families = ["control", "status", "enquiry"].map((family) => `${family}.${value}`);
  return name === "result" && families.filter(known).map((id) => t(id))[0] || value;
}

function actItem(act) {
  const told = SHOWN.map((name) => actWords(act, name)).filter((value) => value && (typeof value === "string" || typeof value === "number"));
  const devices = [...(act.data.added ?? []).map((id) => `+ ${id}`), ...(act.data.removed ?? []).map((id) => `− ${id}`)];
  const against = (act.data.checks ?? []).filter((c) => c.verdict === "contradicts");
  return el("li", { "data-kind": act.kind },
    el("h3", {}, el("span", {}, actName(act.kind)), against.length ? badge(t("verdict.contradicts"), "critical", "critical") : ""),
    el("p", { class: "hint" }, time(act.at), ` · ${act.recorded_by}`),
    told.length || devices.length ? el("p", {}, [...told, ...devices].join(" · ")) : null,
    against.length ? el("p", { class: "hint" }, against.map((c) => said(c.msg)).join(" ")) : null);
}

// ---------------------------------------------------------------- risk

function showRisk() {
  const r = now.risk;
  if (!r) return $("risk").replaceChildren(el("p", { class: "hint" }, t("Not assessed yet.")));
  const reasons = [...(r.reasons ?? [])].sort((a, b) => Math.abs(b.contribution ?? 0) - Math.abs(a.contribution ?? 0));
  const confidential = r.probability == null;
  $("risk").replaceChildren(
    confidential ? "" : el("dl", { class: "risk-head" },
      pair(t("Level"), levelBadge(r.level)), pair(t("Probability"), `${number(r.probability * 100, 1)} %`),
      pair(t("Expected loss"), kzt(r.expected_loss_kzt)), pair(t("Rank"), r.rank ?? "–"),
      r.corridor && pair(t("Corridor"), corridorName(r.corridor))),
    reasons.length ? reasonsTable(reasons, confidential) : el("p", { class: "hint" }, t("No reasons speak for or against.")));
}

const pair = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
const signed = (value) => `${value < 0 ? "−" : "+"}${number(Math.abs(value), 2)}`;

function reasonsTable(reasons, confidential) {
  const sum = reasons.reduce((total, r) => total + (r.contribution ?? 0), 0);
  const rows = reasons.map((r) => el("tr", {}, el("td", {}, r.text || anomalyName(r.indicator)),
    confidential ? "" : el("td", {}, signed(r.contribution))));
  if (!confidential) rows.push(el("tr", { class: "total" }, el("td", {}, t("Sum (log odds)")), el("td", {}, signed(sum))));
  return el("table", { class: "sum" }, el("tbody", {}, rows));
}

// ---------------------------------------------------------------- alerts and anomalies

function showAlerts() {
  const order = { open: 0, acknowledged: 1, resolved: 2, retracted: 3 };
  const sorted = [...now.alerts].sort((a, b) => order[a.status] - order[b.status] || (a.rank ?? 1e9) - (b.rank ?? 1e9));
  redraw($("alerts"), ...(sorted.length ? sorted.map(alertCase) : [el("li", { class: "empty" }, t("No alerts on this delivery."))]));
}

function alertCase(a) {
  const acts = [];
  if (handlesAlerts && a.status === "open") {
    acts.push(el("button", { type: "button", class: "small primary", "data-act": "ack", onclick: async (e) => {
      if (e.currentTarget.ariaDisabled === "true") return;
      e.currentTarget.ariaDisabled = "true";
      takeAlert(await acknowledge(a.id) ?? a);
    } }, t("Acknowledge")));
  }
  if (handlesAlerts && (a.status === "open" || a.status === "acknowledged")) {
    acts.push(el("button", { type: "button", class: "small", "data-act": "resolve", onclick: () => resolveAlert(a, takeAlert) }, t("Resolve…")));
    acts.push(el("button", { type: "button", class: "small", "data-act": "assign", onclick: () => assignAlert(a, takeAlert).catch((error) => toast(error.message, true)) }, t("Assign")));
  }
  if (handlesAlerts) acts.push(el("button", { type: "button", class: "small", "data-act": "comment", onclick: () => commentAlert(a, takeAlert) }, t("Comment")));
  const due = dueText(a);
  return el("li", { class: "case", "data-id": a.id, "data-code": a.code, "data-status": a.status },
    el("h3", {}, el("span", {}, anomalyName(a.code)), severityBadge(a.severity), badge(alertStatusName(a.status), a.status === "open" ? "high" : "info"),
      a.finding && badge(findingName(a.finding)), escalationBadge(a)),
    el("p", { class: "hint" }, t("Raised"), " ", time(a.raised_at), a.count > 1 ? ` · × ${a.count}` : "", a.assignee ? ` · ${a.assignee}` : "", ...(due ? [" · ", due] : [])),
    el("ol", { class: "history" }, ...(a.history ?? []).map((h) =>
      el("li", {}, time(h.at, { short: true }), ` · ${h.who === "system" ? t("system") : h.who} · ${historyName(h.what)}${h.text ? ` — ${historyText(h)}` : ""}`))),
    acts.length ? el("div", { class: "row" }, acts) : null);
}

function takeAlert(alert) {
  now.alerts = [...now.alerts.filter((a) => a.id !== alert.id), alert];
  showAlerts();
}

function showAnomalyList() {
  const sorted = [...now.anomalies].sort((a, b) => b.start.localeCompare(a.start));
  $("anomalies").replaceChildren(...(sorted.length ? sorted.map(anomalyItem) : [el("li", { class: "empty" }, t("Nothing unusual in the telemetry so far."))]));
  if (map) showAnomalies(map, now.anomalies, anomalyName);
}

function anomalyItem(a) {
  const rows = evidenceRows(a.evidence);
  return el("li", { class: a.status, "data-code": a.code },
    el("h3", {}, el("span", {}, anomalyName(a.code)), severityBadge(a.severity),
      a.eaeu_code && badge(t("EAEU code {code}", { code: a.eaeu_code })),
      a.provisional && badge(t("provisional")), a.status === "retracted" && badge(t("retracted"))),
    el("p", { class: "hint" }, ...period(a), a.device_id ? ` · ${a.device_id}` : ""),
    rows.length ? el("p", {}, ...rows.flatMap(([name, value], i) => [i ? "; " : "", `${name}: `, value])) : null);
}

// ---------------------------------------------------------------- the map

let map;
let fleet;
let route;

async function startMap() {
  try {
    map = await createMap("map", { cooperativeGestures: matchMedia("(max-width: 46rem)").matches });
    onTheme(async () => {
      map.setStyle(await loadStyle(), { diff: false });
      map.once("style.load", () => { addOverlay(map); showOnMap(); fleet.redraw(); });
    });
    addOverlay(map);
    fleet = new Fleet(map);
    const [zones, found] = await Promise.all([all("/zones"), optional(api(`/deliveries/${ID}/route?corridor=true`), null)]);
    route = found;
    now.zones = zones;
    if (now.delivery.last_position) fleet.update({ ...now.delivery.last_position, delivery_id: ID });
    showOnMap();
    const ends = now.posts.filter((p) => [now.delivery.departure_post, now.delivery.destination_post].includes(p.code));
    const box = boundsOf(...(now.track?.features ?? []).map((f) => f.geometry), route?.geometry, ...(route ? [] : ends.map((p) => p.geometry)));
    if (box) map.fitBounds(box, { padding: 40, maxZoom: 14, duration: 0 });
    $("map-state").hidden = true;
    map.once("idle", () => { $("map").dataset.ready = "true"; });
  } catch (error) {
    $("map-state").replaceChildren(el("span", { class: "error", role: "alert" }, error.message));
  }
}

function showOnMap() {
  showRoutes(map, route?.routes ?? []);
  showZones(map, now.zones ?? []);
  showPosts(map, now.posts);
  showTrack(map, now.track);
  showAnomalies(map, now.anomalies, anomalyName);
}

// ---------------------------------------------------------------- load and keep up to date

const optional = (promise, otherwise) => promise.catch((error) => {
  if (error.status === 403 || error.status === 404) return otherwise; // not this role's to see
  throw error;
});

let asked = 0;
let shown = 0;

async function refresh() {
  const turn = ++asked;
  const [delivery, alerts, anomalies, risk] = await Promise.all([
    api(`/deliveries/${ID}`), optional(all(`/alerts?delivery_id=${ID}`), []),
    optional(all(`/deliveries/${ID}/anomalies`), []), optional(api(`/deliveries/${ID}/risk`), null)]);
  if (turn < shown) return; // what was asked for later has come first
  shown = turn;
  Object.assign(now, { delivery, alerts, anomalies, risk });
  showAll();
  await loadRoute();
}

function showAll() {
  showHead();
  showFacts();
  showTimes();
  showActs();
  showRisk();
  showAlerts();
  showAnomalyList();
}

/** All routes that were declared for it: another one may have been on the way. */
async function loadRoute() {
  if (!map) return;
  route = await optional(api(`/deliveries/${ID}/route?corridor=true`), null);
  showRoutes(map, route?.routes ?? []);
}

async function loadTrack() {
  now.track = await optional(api(`/deliveries/${ID}/track`), null);
  const points = (now.track?.features ?? []).reduce((n, f) => n + (f.geometry?.type === "LineString" ? f.geometry.coordinates.length : 0), 0);
  $("track-note").textContent = points ? t("{n} points of the track", { n: number(points) }) : t("No track yet.");
  if (map) showTrack(map, now.track);
}

async function loadNames() {
  now.posts = await optional(all("/posts"), []);
}

const queue = new Map();
/** Do a thing at most once in a while, however often the stream asks for it. */
function soon(name, act, wait_ms = 800) {
  if (queue.has(name)) return;
  queue.set(name, setTimeout(() => { queue.delete(name); act().catch((error) => toast(error.message, true)); }, wait_ms));
}

function followStream() {
  const own = (handle) => (data) => {
    if ((data.delivery_id ?? data.id) !== ID) return;
    if (now.delivery) handle(data);
    else soon("all", refresh); // what is being read may be older
  };
  return listen({
    position: own((p) => { fleet?.update(p); now.delivery.last_position = p; soon("track", loadTrack, 5000); soon("facts", async () => showFacts(), 1000); }),
    alert: own((a) => {
      if (!now.alerts.some((one) => one.id === a.id)) $("news").textContent = `${t("New alert")}: ${anomalyName(a.code)}`;
      takeAlert(a);
    }),
    anomaly: own(() => soon("all", refresh)),
    risk: own(() => soon("all", refresh)),
    delivery: own(() => soon("all", refresh)),
  }, { banner: $("connection"), onresume: () => soon("all", refresh) });
}

async function start() {
  await followStream(); // first: the map alone may take as long as an arrival
  try {
    await refresh();
    await Promise.all([loadNames(), loadTrack()]);
    showAll();
  } catch (error) {
    const shown = error.status === 404 ? new Error(t("There is no such delivery, or it is not yours to see.")) : error;
    return failed($("loading"), shown, () => location.reload());
  }
  if (role === "carrier") document.querySelector("[data-crumb]").href = "/carrier";
  $("loading").hidden = true;
  $("content").hidden = false;
  $("delivery").setAttribute("aria-busy", "false");
  await startMap();
  setInterval(showTimes, 30000);
}

await start();
