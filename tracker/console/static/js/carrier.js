// A carrier's own deliveries, and the notification of a border crossing.
import { all, api, el, failed, fromLocalField, redraw, t, toLocalField } from "./core.js";
import { actionsOf } from "./acts.js";
import { deliveriesTable, postOptions, postsByCode } from "./tables.js";

const form = document.getElementById("crossing");
const state = form.querySelector(".form-state");
const list = document.getElementById("list");
const MAY_CROSS = ["declared", "released", "in_transit", "overdue"];

async function load() {
  list.setAttribute("aria-busy", "true");
  try {
    const [deliveries, byCode] = await Promise.all([all("/deliveries"), postsByCode()]);
    redraw(list, deliveries.length ? deliveriesTable(deliveries, byCode, acts) : el("p", { class: "empty" }, t("You have no deliveries yet.")));
    list.setAttribute("aria-busy", "false");
    fill(deliveries.filter((d) => MAY_CROSS.includes(d.status)), byCode);
  } catch (error) {
    failed(list, error, load);
  }
}

const acts = (d) => el("div", { class: "actions" }, actionsOf(d, load));

function fill(deliveries, byCode) {
  const { delivery, post } = form.elements;
  delivery.replaceChildren(...deliveries.map((d) => el("option", { value: d.id, "data-plate": d.vehicle?.plate }, `${d.registration_number} · ${d.vehicle?.plate ?? ""}`)));
  // Crossings first; an inland post may still be where a carrier reports.
  post.replaceChildren(...postOptions(byCode, (p) => p.kind !== "inland"), ...postOptions(byCode, (p) => p.kind === "inland"));
  form.elements.at.value = toLocalField(new Date());
  form.querySelector("button").disabled = deliveries.length === 0;
  choose();
}

function choose() {
  form.elements.plate.value = form.elements.delivery.selectedOptions[0]?.dataset.plate ?? "";
}

function say(kind, message) {
  state.className = `form-state ${kind}`;
  state.textContent = message;
}

form.elements.delivery.addEventListener("change", choose);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const body = { post: fields.get("post"), at: fromLocalField(fields.get("at")) };
  if (fields.get("plate")) body.plate = fields.get("plate").trim();
  const button = form.querySelector("button");
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true"; // not `disabled`: the keyboard keeps its place
  say("", t("Sending…"));
  try {
    await api(`/deliveries/${fields.get("delivery")}/border-crossing`, { method: "POST", body });
    say("done", t("Customs has been notified."));
  } catch (error) {
    say("error", error.message);
  }
  button.ariaDisabled = "false";
});

await load();
