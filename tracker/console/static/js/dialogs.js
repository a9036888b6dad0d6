// Forms in dialogs: resolving an alert, confirming an arrival, releasing a delivery.
import { api, el, fromLocalField, t, toLocalField } from "./core.js";
import { anomalyName, corridorName, findingName } from "./words.js";

const dialog = document.getElementById("dialog");

/** Open a form; `send(FormData)` throws to keep it open with the error, and closes it otherwise. */
function ask(title, fields, action, send) {
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const button = el("button", { class: "primary", type: "submit" }, action);
  const form = el("form", { method: "dialog" }, el("h2", { id: "dialog-title" }, title), ...fields, error,
    el("div", { class: "row" }, el("button", { type: "button", onclick: () => dialog.close() }, t("Cancel")), button));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await send(new FormData(form));
      dialog.close();
    } catch (problem) {
      error.hidden = false;
      error.textContent = problem.message;
      button.disabled = false;
    }
  });
  dialog.replaceChildren(form);
  dialog.showModal();
}

function choices(name, legend, options) {
  return el("fieldset", {}, el("legend", {}, legend), el("div", { class: "choices" },
    ...options.map(([value, text], i) => el("label", { class: "choice" },
      el("input", { type: "radio", name, value, required: true, checked: i < 0 }), text))));
}

const words = (name, label, required = false) =>
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

const SEAL_STATES = ["intact", "broken", "missing"];

/** Confirm an arrival: the state of every seal as the officer sees it. */
export function confirmArrival(delivery, seals, done) {
  ask(t("Confirm the arrival of {number}", { number: delivery.registration_number }), [
    ...seals.map((id) => choices(`seal:${id}`, t("Seal {id}", { id }), SEAL_STATES.map((s) => [s, t(`seal.${s}`)]))),
    words("remarks", t("Remarks")),
  ], t("Confirm the arrival"), async (form) => {
    const body = { seals: seals.map((id) => ({ device_id: id, state: form.get(`seal:${id}`) })) };
    if (form.get("remarks")) body.remarks = form.get("remarks");
    const answer = await api(`/deliveries/${delivery.id}/arrival`, { method: "POST", body });
    done(answer);
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

/** What the system ordered at arrival, in words. */
export function arrivalAnswer(answer) {
  const parts = [t("Arrival confirmed.")];
  if (answer?.corridor) parts.push(t("Corridor: {corridor}.", { corridor: corridorName(answer.corridor) }));
  const against = answer?.contradictions ?? [];
  if (against.length) parts.push(t("Contradictions with telemetry: {n}.", { n: against.length }));
  return parts.join(" ");
}

/** Devices of a delivery that are seals. */
export const sealsOf = (delivery) =>
  (delivery.bindings ?? []).filter((b) => b.kind === "seal").map((b) => b.device_id ?? b.device)
    .filter((id, i, ids) => id && ids.indexOf(id) === i);
