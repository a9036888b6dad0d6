// Lists of deliveries, as tables that become cards on a phone.
import { all, el, metres, named, t, time } from "./core.js";
import { levelBadge, statusBadge } from "./words.js";

export const STATUSES = ["declared", "released", "in_transit", "overdue", "enquiry", "arrived", "under_control", "completed", "discrepancy", "non_delivery", "cancelled"];

let posts;
/** All posts by code; asked for once a page. */
export const postsByCode = () => (posts ??= all("/posts").then((items) => new Map(items.map((p) => [p.code, p]))));

/** A table of deliveries; `act(delivery)` may give a cell of actions. */
export function deliveriesTable(deliveries, byCode, act = null) {
  const name = (code) => named(byCode.get(code)?.name) || code;
  const heads = [t("Number"), t("Status"), t("From → to"), t("Vehicle"), t("Deadline"), t("Last seen"), ...(act ? [""] : [])];
  return el("table", {}, el("thead", {}, el("tr", {}, heads.map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, deliveries.map((d) => el("tr", { "data-id": d.id },
      cell(heads[0], el("a", { href: `/deliveries/${d.id}` }, d.registration_number)),
      cell(heads[1], el("span", {}, statusBadge(d.status), d.risk ? " " : "", d.risk ? levelBadge(d.risk.level) : "")),
      cell(heads[2], el("span", {}, `${name(d.departure_post)} → ${name(d.destination_post)}`)),
      cell(heads[3], el("span", {}, d.vehicle?.plate ?? "–")),
      cell(heads[4], time(d.deadline)),
      cell(heads[5], lastSeen(d.last_position)),
      act && cell("", act(d))))));
}

const cell = (label, content) => el("td", { "data-label": label }, content ?? "");

function lastSeen(p) {
  if (!p) return el("span", {}, "–");
  return el("span", {}, time(p.t, { short: true }), p.progress_m == null ? "" : el("span", { class: "hint" }, t("{distance} driven", { distance: metres(p.progress_m) })));
}

/** Options of a post select: in the reader's language, sorted. */
export function postOptions(byCode, wanted = () => true) {
  return [...byCode.values()].filter(wanted).map((p) => [p.code, named(p.name)])
    .sort((a, b) => a[1].localeCompare(b[1])).map(([code, name]) => el("option", { value: code }, name));
}
