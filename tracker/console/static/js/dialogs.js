// Forms in dialogs: resolving an alert, confirming an arrival, releasing a delivery.
import { api, el, facts, fromLocalField, t, toLocalField } from "./core.js";
import { anomalyName, contradictionName, corridorName, findingName, measureName } from "./words.js";

const dialog = document.getElementById("dialog");

/**
 * Open a form; `send(FormData)` throws to keep it open with the error; what it returns is called
 * after the dialog has closed.
 */
export function ask(title, fields, action, send) {
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const button = el("button", { class: "primary", type: "submit" }, action);
  const form = el("form", { method: "dialog" }, el("h2", { id: "dialog-title" }, title), ...fields, error,
    el("div", { class: "row" }, el("button", { type: "button", onclick: () => dialog.close() }, t("Cancel")), button));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const after = await send(new FormData(form));
      dialog.close();
      after?.();
    } catch (problem) {
      error.hidden = false;
      error.textContent = problem.message;
      button.disabled = false;
    }
  });
  dialog.replaceChildren(form);
  dialog.showModal();
}

export function choices(name, legend, options, chosen = null) {
  return el("fieldset", {}, el("legend", {}, legend), el("div", { class: "choices" },
    ...options.map(([value, text]) => el("label", { class: "choice" },
      el("input", { type: "radio", name, value, required: true, checked: value === chosen }), text))));
}

export const words = (name, label, required = false) =>
  el("label", {}, label, el("textarea", { name, rows: "3", required, maxlength: "4000" }));

/** Resolve an alert with a finding and words. */
export function resolveAlert(alert, done) {
  ask(t("Resolve: {alert}", { alert: anomalyName(alert.code) }), [
    choices("finding", t("Finding"), ["confirmed", "explained", "false", "technical"].map((f) => [f, findingName(f)])),
    words("text", t("What was found"), true),
  ], t("Resolve"), async (form) => {
    done(await api(`/alerts/${alert.id}/resolve`, { method: "POST", body: { finding: form.get("finding"), text: form.get("text") } }));
  });
}

const SEAL_STATES = ["intact", "damaged", "broken", "cut", "open", "missing"];

/** Confirm an arrival: the state of every seal as the officer sees it. */
export function confirmArrival(delivery, seals, done) {
  ask(t("Confirm the arrival of {number}", { number: delivery.registration_number }), [
    ...seals.map((id) => choices(`seal:${id}`, t("Seal {id}", { id }), SEAL_STATES.map((s) => [s, t(`seal.${s}`)]))),
    words("remarks", t("Remarks")),
  ], t("Confirm the arrival"), async (form) => {
    const body = { seals: seals.map((id) => ({ device_id: id, state: form.get(`seal:${id}`) })) };
    if (form.get("remarks")) body.remarks = form.get("remarks");
    const decided = await api(`/deliveries/${delivery.id}/arrival`, { method: "POST", body });
    return () => showDecision(decided, done);
  });
}

/** Release: seals armed, departure; it may have happened some time ago. */
export function releaseDelivery(delivery, done) {
  ask(t("Release {number}", { number: delivery.registration_number }), [
    el("p", { class: "hint" }, t("The seals are armed and the vehicle departs. The clock starts now.")),
    el("label", {}, t("Time of release (Kazakhstan)"),
      el("input", { type: "datetime-local", name: "at", value: toLocalField(new Date()), required: true })),
  ], t("Release"), async (form) => {
    done(await api(`/deliveries/${delivery.id}/release`, { method: "POST", body: { at: fromLocalField(form.get("at")) } }));
  });
}

/** What the system decided at arrival, as rows of a definition list. */
export function decisionRows(decided) {
  const against = decided.contradictions ?? [];
  return [
    [t("Corridor"), decided.corridor && corridorName(decided.corridor)],
    [t("Measures"), (decided.measures ?? []).map(measureName).join(", ") || t("none")],
    [t("Officer"), decided.officer || t("nobody is free at this post")],
    [t("Against telemetry"), against.length ? el("ul", { class: "bare" }, against.map((c) => el("li", {}, contradictionName(c)))) : t("nothing")],
  ];
}

/** Show the decision until it has been read. */
export function showDecision(decided, closed = () => {}) {
  const list = el("dl", { class: "facts" });
  facts(list, decisionRows(decided));
  dialog.replaceChildren(el("form", { method: "dialog" }, el("h2", { id: "dialog-title" }, t("Arrival confirmed.")), list,
    el("div", { class: "row" }, el("button", { class: "primary", type: "submit" }, t("Close")))));
  dialog.addEventListener("close", closed, { once: true });
  dialog.showModal();
}

/** Devices of a delivery that are seals. */
export const sealsOf = (delivery) =>
  (delivery.bindings ?? []).filter((b) => b.kind === "seal").map((b) => b.device_id)
    .filter((id, i, ids) => ids.indexOf(id) === i);
