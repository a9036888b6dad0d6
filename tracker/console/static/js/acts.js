// What people do with a delivery on its way and at its end: the buttons, and their forms.
import { all, api, el, fromLocalField, known, named, ownPosts, role, said, t, toast, toLocalField } from "./core.js";
import { ask, choices, show, words } from "./dialogs.js";
import { progressBar, upload } from "./upload.js";
import { badge } from "./words.js";

const ON_THE_WAY = ["released", "in_transit", "overdue", "enquiry"];
const INCIDENTS = ["deviation", "seals", "moved", "unloaded", "unable", "composition"];

export const actName = (kind) => (known(`act.${kind}`) ? t(`act.${kind}`) : String(kind).replaceAll("_", " "));
/** An incident by its number, as in NCTS. */
export const incidentName = (code) => (INCIDENTS[code - 1] ? `${code} · ${t(`incident.${INCIDENTS[code - 1]}`)}` : code);
export const stepName = (step) => (known(`step.${step}`) ? t(`step.${step}`) : String(step).replaceAll("_", " "));

const isAt = (post) => role === "admin" || role === "officer" && ownPosts.includes(post);
const officer = role === "admin" || role === "officer";
const notifies = ["carrier", "admin", "officer", "monitor"].includes(role);

const line = (name, label, attributes = {}) => el("label", {}, label, el("input", { name, ...attributes }));
const when = () => line("at", t("When it happened (Kazakhstan)"), { type: "datetime-local", value: toLocalField(new Date()), required: true });
const ids = (text) => String(text ?? "").split(/[\s,;]+/).filter(Boolean);
const filled = (pairs) => Object.fromEntries(Object.entries(pairs).filter(([, value]) => value != null && value !== ""));
// The field counts whole minutes: what happened in this one happened now.
const moment = (form, field = "at") => {
  const at = fromLocalField(form.get(field));
  const ago = Date.now() - new Date(at);
  return ago >= 0 && ago < 60e3 ? undefined : at;
};

const send = (d, act, body) => api(`/deliveries/${d.id}/${act}`, { method: "POST", body: filled(body) });

/** The buttons of what this person may do with this delivery now; `done` follows each act. */
export function actionsOf(d, done) {
  const under = ON_THE_WAY.includes(d.status);
  const arrives = isAt(d.destination_post), leaves = isAt(d.departure_post);
  const offers = [
    [notifies && under, t("Report an incident"), () => reportIncident(d, done)],
    [notifies && under, t("Notify the arrival"), () => notifyArrival(d, done)],
    [officer && under, t("Reseal"), () => changeDevices(d, "reseal", done)],
    [officer && under, t("Transship"), () => changeDevices(d, "transshipment", done)],
    [(officer || role === "monitor") && under, t("Declare another route"), () => reroute(d, done).catch((error) => toast(error.message, true))],
    [(role === "monitor" || arrives || leaves) && d.status === "overdue", t("Begin an enquiry"), () => beginEnquiry(d, done)],
    [(role === "monitor" || arrives || leaves) && d.status === "enquiry", t("Result of the enquiry"), () => answerEnquiry(d, done)],
    [arrives && ["arrived", "under_control"].includes(d.status), t("Record a control"), () => recordControl(d, done)],
    [arrives && ["arrived", "under_control"].includes(d.status), t("Record a scan"), () => recordScan(d, done)],
    [arrives && ["arrived", "under_control"].includes(d.status), t("End the control"), () => closeDelivery(d, done)],
    [leaves && d.status === "declared", t("Cancel the delivery"), () => cancelDelivery(d, done)],
  ];
  return offers.filter(([may]) => may).map(([, text, open]) => el("button", { type: "button", onclick: open }, text));
}

function reportIncident(d, done) {
  ask(t("Incident on {number}", { number: d.registration_number }), [
    el("label", {}, t("What happened"), el("select", { name: "code", required: true },
      ...INCIDENTS.map((_, i) => el("option", { value: i + 1 }, incidentName(i + 1))))),
    when(), words("text", t("In words"), true),
    line("place", t("Place (village, kilometre post)"), { maxlength: 300 }),
    choices("planned", t("Is it planned?"), [["", t("no")], ["detour", t("a detour")], ["stop", t("a stop")]], ""),
    line("until", t("Planned until (Kazakhstan)"), { type: "datetime-local" }),
  ], t("Send"), async (form) => {
    const planned = form.get("planned") ? filled({ kind: form.get("planned"), until: form.get("until") && fromLocalField(form.get("until")) }) : undefined;
    const told = await send(d, "incidents", { code: Number(form.get("code")), text: form.get("text"), at: moment(form), place: form.get("place"), planned });
    return () => showChecks(told, done);
  });
}

const VERDICTS = { agrees: "good", contradicts: "critical", unknown: "info" };

/** What telemetry says to an incident, until it has been read. */
function showChecks(told, done) {
  show(el("form", { method: "dialog" }, el("h2", { id: "dialog-title" }, t("Customs has been notified.")),
    el("p", { class: "hint" }, t("What telemetry says to it:")),
    el("ul", { class: "bare" }, told.checks.map((c) => el("li", {}, badge(t(`verdict.${c.verdict}`), VERDICTS[c.verdict]), " ", said(c.msg)))),
    told.explained_alerts.length ? el("p", {}, t("Alerts explained by it: {n}", { n: told.explained_alerts.length })) : null,
    told.noted_alerts.length ? el("p", {}, t("Alerts that an officer decides on: {n}", { n: told.noted_alerts.length })) : null,
    el("div", { class: "row" }, el("button", { class: "primary", type: "submit" }, t("Close the window")))), () => done());
}

function notifyArrival(d, done) {
  ask(t("Arrival of {number}", { number: d.registration_number }), [
    el("p", { class: "hint" }, t("The vehicle stands at the destination post. An officer then confirms the arrival.")),
    when(), words("text", t("Remarks")),
  ], t("Send"), async (form) => {
    await send(d, "arrival-notice", { at: moment(form), text: form.get("text") });
    return done;
  });
}

function changeDevices(d, act, done) {
  const sealing = act === "reseal";
  const on = (d.bindings ?? []).filter((b) => b.from && !b.to);
  ask(sealing ? t("Reseal {number}", { number: d.registration_number }) : t("Transship {number}", { number: d.registration_number }), [
    when(),
    line("place", t("Place (village, kilometre post)"), { maxlength: 300 }),
    ...sealing ? [] : [line("plate", t("Plate of the new vehicle"), { maxlength: 32 }), line("country", t("Its country"), { maxlength: 3, value: "KZ" })],
    on.length ? el("fieldset", {}, el("legend", {}, t("Devices that come off")), el("div", { class: "choices" },
      ...on.map((b) => el("label", { class: "choice" }, el("input", { type: "checkbox", name: "remove", value: b.device_id }), b.device_id)))) : "",
    line("add", t("Devices that are put on"), { placeholder: "SEAL-0002" }),
    words("reason", t("Reason"), true),
  ], t("Record"), async (form) => {
    const vehicle = form.get("plate") ? { plate: form.get("plate"), country: form.get("country") || "KZ" } : undefined;
    await send(d, act, { at: moment(form), place: form.get("place"), reason: form.get("reason"), vehicle, add: ids(form.get("add")), remove: form.getAll("remove") });
    return done;
  });
}

async function reroute(d, done) {
  const routes = (await all("/routes")).filter((r) => r.code !== d.route_code);
  ask(t("Another route for {number}", { number: d.registration_number }), [
    el("p", { class: "hint" }, t("Records from this time on are judged by the new route, earlier ones by the old.")),
    el("label", {}, t("Route"), el("select", { name: "route_code", required: true },
      ...routes.map((r) => el("option", { value: r.code }, `${r.code} · ${typeof r.name === "string" ? r.name : named(r.name)}`)))),
    line("from", t("In force from (Kazakhstan)"), { type: "datetime-local", value: toLocalField(new Date()), required: true }),
    words("reason", t("Reason"), true),
  ], t("Record"), async (form) => {
    await send(d, "reroute", { route_code: form.get("route_code"), from: moment(form, "from"), reason: form.get("reason") });
    return done;
  });
}

function beginEnquiry(d, done) {
  ask(t("Enquiry into {number}", { number: d.registration_number }), [when(), words("text", t("What was asked, and whom"), true)],
    t("Begin an enquiry"), async (form) => { await send(d, "enquiry", { at: moment(form), text: form.get("text") }); return done; });
}

function answerEnquiry(d, done) {
  ask(t("Enquiry into {number}", { number: d.registration_number }), [
    choices("result", t("Result"), ["found", "arrived", "non_delivery"].map((r) => [r, t(`enquiry.${r}`)])),
    when(), words("text", t("In words"), true),
  ], t("Record"), async (form) => {
    await send(d, "enquiry", { result: form.get("result"), at: moment(form), text: form.get("text") });
    return done;
  });
}

function recordControl(d, done) {
  const ordered = (d.acts ?? []).findLast((act) => act.kind === "arrival")?.data.measures ?? [];
  ask(t("Control of {number}", { number: d.registration_number }), [
    el("label", {}, t("Kind of control"), el("input", { name: "kind", required: true, maxlength: 64, value: ordered[0] ?? "full_inspection" })),
    choices("result", t("Result"), [["", t("ordered, not carried out yet")], ["clean", t("control.clean")], ["violation", t("control.violation")]], ""),
    line("code", t("Code of the violation"), { maxlength: 64 }),
    line("amount_kzt", t("Amount, ₸"), { type: "number", min: 0, step: 1 }),
    when(), words("text", t("Remarks")),
  ], t("Record"), async (form) => {
    const amount = form.get("amount_kzt") ? Number(form.get("amount_kzt")) : undefined;
    await send(d, "controls", { kind: form.get("kind"), result: form.get("result"), code: form.get("code"), amount_kzt: amount, at: moment(form), text: form.get("text") });
    return done;
  });
}

function recordScan(d, done) {
  const bar = progressBar();
  ask(t("Scan of {number}", { number: d.registration_number }), [
    choices("verdict", t("Verdict"), ["clean", "suspicious", "violation"].map((v) => [v, t(`control.${v}`)])),
    line("container", t("Container"), { maxlength: 300, value: d.vehicle?.container ?? "" }),
    line("file", t("File, at most 5 MB"), { type: "file" }),
    when(), words("text", t("Remarks")), bar,
  ], t("Record"), async (form) => {
    const at = moment(form);
    if (at) form.set("at", at);
    else form.delete("at");
    await upload(`/deliveries/${d.id}/scans`, form, bar);
    return done;
  });
}

function closeDelivery(d, done) {
  ask(t("End the control of {number}", { number: d.registration_number }), [
    el("p", { class: "hint" }, t("The result follows from the controls, unless you say that there is a discrepancy.")),
    choices("result", t("Result"), [["", t("as the controls say")], ["discrepancy", t("status.discrepancy")]], ""),
    words("remarks", t("Remarks")),
  ], t("End the control"), async (form) => { await send(d, "close", { result: form.get("result"), remarks: form.get("remarks") }); return done; });
}

function cancelDelivery(d, done) {
  ask(t("Cancel {number}", { number: d.registration_number }), [words("reason", t("Reason"), true)],
    t("Cancel the delivery"), async (form) => { await send(d, "cancel", { reason: form.get("reason") }); return done; });
}

// ---------------------------------------------------------------- alerts

/** Give an alert to one of those who may handle it. */
export async function assignAlert(alert, done) {
  const { items } = await api("/alerts/assignees");
  ask(t("Assign the alert"), [
    el("label", {}, t("To whom"), el("select", { name: "assignee", required: true },
      ...items.map((u) => el("option", { value: u.username, selected: u.username === alert.assignee }, `${u.username} · ${u.unresolved}`)))),
    words("text", t("Remarks")),
  ], t("Assign"), async (form) => {
    const now = await api(`/alerts/${alert.id}/assign`, { method: "POST", body: { assignee: form.get("assignee"), text: form.get("text") } });
    return () => done(now);
  });
}

/** Add words to an alert's history. */
export function commentAlert(alert, done) {
  ask(t("Comment on the alert"), [words("text", t("In words"), true)], t("Add"), async (form) => {
    const now = await api(`/alerts/${alert.id}/comment`, { method: "POST", body: { text: form.get("text") } });
    return () => done(now);
  });
}

