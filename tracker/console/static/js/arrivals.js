// What is bound for an officer's post, and the confirmation of arrivals.
import { all, api, confirmsArrivals, el, failed, ownPosts, redraw, t, toast } from "./core.js";
import { confirmArrival, sealsOf } from "./dialogs.js";
import { deliveriesTable, postOptions, postsByCode } from "./tables.js";

const list = document.getElementById("list");
const select = document.getElementById("filter").elements.post;
const EXPECTED = ["in_transit", "overdue", "released", "enquiry"];

async function load() {
  list.setAttribute("aria-busy", "true");
  try {
    const byCode = await postsByCode();
    const one = select.value ? `&post=${encodeURIComponent(select.value)}` : "";
    const found = await all(`/deliveries?${EXPECTED.map((s) => `status=${s}`).join("&")}${one}`);
    const bound = found.filter((d) => (select.value ? d.destination_post === select.value : mine(d.destination_post))).sort((a, b) => a.deadline.localeCompare(b.deadline));
    redraw(list, bound.length ? deliveriesTable(bound, byCode, confirmsArrivals ? button : null)
      : el("p", { class: "empty" }, t("Nothing is on its way to this post.")));
    list.setAttribute("aria-busy", "false");
  } catch (error) {
    failed(list, error, load);
  }
}

const mine = (code) => ownPosts.length === 0 || ownPosts.includes(code);
const button = (d) => el("button", { type: "button", class: "small primary", onclick: () => open(d) }, t("Confirm the arrival"));

async function open(d) {
  try {
    const whole = await api(`/deliveries/${d.id}`);
    confirmArrival(whole, sealsOf(whole), load);
  } catch (error) {
    toast(error.message, true);
  }
}

select.addEventListener("change", load);
// Back from another tab or from a break: others have confirmed arrivals meanwhile.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !document.querySelector("dialog[open]")) load();
});
try {
  const byCode = await postsByCode();
  select.append(...postOptions(byCode, (p) => mine(p.code)));
  await load();
} catch (error) {
  failed(list, error, () => location.reload());
}
