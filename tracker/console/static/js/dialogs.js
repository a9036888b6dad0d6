// Forms in dialogs: resolving an alert, confirming an arrival, releasing a delivery.
import { api, el, facts, fromLocalField, placeOf, t, toLocalField } from "./core.js";
import { anomalyName, contradictionName, corridorName, findingName, measureName } from "./words.js";

const dialog = document.getElementById("dialog");

/** Open the dialog with a form; `closed` follows. The keyboard comes back to where it was. */
export function show(form, closed) {
  const back = placeOf(document.activeElement);
  dialog.replaceChildren(form);
  dialog.addEventListener("close", () => {
    // The browser leads back to the very button, which may have been redrawn meanwhile: then the
    // hidden button of the dialog has the keyboard until the next frame, and nothing after it.
    const held = document.activeElement;
    if (held === document.body || dialog.contains(held)) back();
    closed?.();
  }, { once: true });
  dialog.showModal();
}

/**
 * Open a form; `send(FormData)` throws to keep it open with the error; what it returns is called
 * after the dialog has closed.
 */
export function ask(title, fields, action, send) {
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const button = el("button", { class: "primary", type: "submit" }, action);
  const form = el("form", { method: "dialog" }, el("h2", { id: "dialog-title" }, title), ...fields, error,
    el("div", { class: "row" }, el("button", { type: "button", onclick: () => dialog.close() }, t("Cancel")), button));
  let after;
  // Blanks are no words: browsers take them for filled in.
  const blank = (field) => field.required && field.matches("textarea, input:not([type])") && !field.value.trim();
  form.addEventListener("input", (event) => event.target.setCustomValidity(""));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.ariaDisabled === "true") return;
    const empty = [...form.elements].find(blank);
    if (empty) {
      empty.setCustomValidity(t("Fill this in."));
      return empty.reportValidity();
    }
    // Not `disabled`: that would take the keyboard's place away.
    button.ariaDisabled = "true";
    error.hidden = true;
    try {
      after = await send(new FormData(form));
      if (!form.isConnected) return;
      if (dialog.open) dialog.close();
      else after?.(); // it was closed while the answer was on its way
    } catch (problem) {
      error.hidden = false;
      error.textContent = problem.message;
      button.ariaDisabled = "false";
    }
  });
  show(form, () => after?.());
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
    const now = await api(`/alerts/${alert.id}/resolve`, { method: "POST", body: { finding: form.get("finding"), text: form.get("text") } });
    return () => done(now);
  });
}

const SEAL_STATES = ["intact", "damaged", "broken", "cut", "open", "missing"];

/** Confirm an arrival: the state of every seal as the officer sees it. */
export function confirmArrival(delivery, seals, done) {
  ask(t("Confirm the arrival of {number}", { number: delivery.registration_number }), [
    ...seals.map((id) => choices(`seal:${id}`, t("Seal {id}", { id }), SEAL_STATES.map((s) => [s, t(`seal.${s}`)]))),
    el("label", {}, t("Another seal is on it: its number"), el("input", { name: "other", maxlength: 64, autocomplete: "off", spellcheck: "false" })),
    // Named by `for`: a label around a select would read out all its options as its name.
    el("div", {}, el("label", { for: "other-state" }, t("State of the other seal")),
      el("select", { name: "other_state", id: "other-state" }, SEAL_STATES.map((s) => el("option", { value: s }, t(`seal.${s}`))))),
    words("remarks", t("Remarks")),
  ], t("Confirm the arrival"), async (form) => {
    const body = { seals: seals.map((id) => ({ device_id: id, state: form.get(`seal:${id}`) })) };
    const other = form.get("other").trim();
    if (other) body.seals.push({ device_id: other, state: form.get("other_state") });
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
    const now = await api(`/deliveries/${delivery.id}/release`, { method: "POST", body: { at: fromLocalField(form.get("at")) } });
    return () => done(now);
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
  show(el("form", { method: "dialog" }, el("h2", { id: "dialog-title" }, t("Arrival confirmed.")), list,
    el("div", { class: "row" }, el("button", { class: "primary", type: "submit" }, t("Close")))), closed);
}

/** Devices of a delivery that are seals. */
export const sealsOf = (delivery) =>
  (delivery.bindings ?? []).filter((b) => b.kind === "seal").map((b) => b.device_id)
    .filter((id, i, ids) => ids.indexOf(id) === i);
