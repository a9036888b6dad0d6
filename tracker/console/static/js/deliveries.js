// The list of deliveries: filter and pages; the address holds the filter, so that it can be sent on.
import { api, el, failed, t } from "./core.js";
import { statusName } from "./words.js";
import { STATUSES, deliveriesTable, postOptions, postsByCode } from "./tables.js";

const PAGE = 50;
const $ = (id) => document.getElementById(id);
const form = $("filter");
const before = []; // cursors of the pages before this one
let cursor = "";
let next = null;
let running;

async function load() {
  running?.abort();
  running = new AbortController();
  $("list").setAttribute("aria-busy", "true");
  showInAddress();
  try {
    const [page, byCode] = await Promise.all([api(`/deliveries?${query()}`, { signal: running.signal }), postsByCode()]);
    next = page.next;
    $("list").replaceChildren(page.items.length
      ? deliveriesTable(page.items, byCode)
      : el("p", { class: "empty" }, t("No delivery fits this filter.")));
    $("list").setAttribute("aria-busy", "false");
    showPager();
  } catch (error) {
    if (error.name !== "AbortError") failed($("list"), error, load);
  }
}

function query() {
  const wanted = new URLSearchParams({ limit: PAGE });
  for (const [name, value] of new FormData(form)) if (value.trim()) wanted.set(name, value.trim());
  if (cursor) wanted.set("cursor", cursor);
  return wanted;
}

function showInAddress() {
  const shown = query();
  shown.delete("limit");
  shown.delete("cursor");
  history.replaceState(null, "", `${location.pathname}${shown.size ? `?${shown}` : ""}`);
}

function showPager() {
  $("pager").hidden = !next && before.length === 0;
  $("pager").querySelector("[data-page=back]").disabled = before.length === 0;
  $("pager").querySelector("[data-page=on]").disabled = !next;
  $("page-no").textContent = t("Page {n}", { n: before.length + 1 });
}

$("pager").addEventListener("click", (event) => {
  const way = event.target.dataset.page;
  if (way === "on") { before.push(cursor); cursor = next; load(); }
  if (way === "back") { cursor = before.pop(); load(); }
});

let typing;
function changed(wait_ms) {
  clearTimeout(typing);
  typing = setTimeout(() => {
    before.length = 0;
    cursor = "";
    load();
  }, wait_ms);
}
form.addEventListener("input", (event) => changed(event.target.type === "search" ? 300 : 0));
form.addEventListener("submit", (event) => { event.preventDefault(); changed(0); });

form.elements.status.append(...STATUSES.map((s) => el("option", { value: s }, statusName(s))));
try {
  form.elements.post.append(...postOptions(await postsByCode()));
  const asked = new URLSearchParams(location.search);
  for (const field of form.elements) if (asked.has(field.name)) field.value = asked.get(field.name);
  await load();
} catch (error) {
  failed($("list"), error, () => location.reload());
}
