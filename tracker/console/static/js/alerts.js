// The ranked list of alerts beside the map: new ones by themselves, the keyboard as quick as the mouse.
import { api, el, handlesAlerts, span, t, time, toast } from "./core.js";
import { alertStatusName, anomalyName, badge, severityBadge, severityName } from "./words.js";

const SHOWN = 200;
const ORDER = ["critical", "high", "medium", "low", "info"];

/** Acknowledge an alert; the answer is the alert as it is now, or null after an error was shown. */
export async function acknowledge(id) {
  try {
    return await api(`/alerts/${id}/ack`, { method: "POST", body: {} });
  } catch (error) {
    toast(error.message, true);
    return null;
  }
}

export class AlertList {
  #list; #empty; #news; #filter; #alerts = new Map(); #drawn = false; #fresh = new Set(); #told = new Map();

  /** `about(delivery_id)` gives what is known of a delivery; `locate` shows it on the map. */
  constructor({ list, empty, news, filter, about, locate, onchange }) {
    Object.assign(this, { about, locate, onchange });
    [this.#list, this.#empty, this.#news, this.#filter] = [list, empty, news, filter];
    this.mode = "open";
    filter.addEventListener("click", (event) => this.#choose(event.target.closest("[data-filter]")));
    list.addEventListener("keydown", (event) => this.#key(event));
    setInterval(() => this.redraw(), 30000); // due times go on
  }

  get unresolved() { return [...this.#alerts.values()].filter((a) => a.status === "open" || a.status === "acknowledged"); }

  /** Take the whole list, as asked for at a time: of what was told since then it may be older. */
  replace(alerts, asked) {
    const newer = [...this.#alerts.values()].filter((a) => this.#told.get(a.id) > asked);
    this.#alerts = new Map([...alerts, ...newer].map((a) => [a.id, a]));
    this.redraw();
  }

  /** Take an alert from the stream; true if it is new and open. */
  take(alert) {
    const isNew = !this.#alerts.has(alert.id) && alert.status === "open";
    this.#alerts.set(alert.id, { ...this.#alerts.get(alert.id), ...alert });
    this.#told.set(alert.id, performance.now());
    if (isNew) {
      this.#fresh.add(alert.id);
      const who = this.about(alert.delivery_id);
      this.#news.textContent = `${t("New alert")}: ${severityName(alert.severity)}, ${anomalyName(alert.code)}, ${who.number}`;
    }
    this.redraw();
    return isNew;
  }

  redraw() {
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => { this.#drawn = false; this.#draw(); });
  }

  #choose(button) {
    if (!button) return;
    this.mode = button.dataset.filter;
    for (const one of this.#filter.children) one.setAttribute("aria-pressed", String(one === button));
    this.#draw();
  }

  #draw() {
    const unresolved = this.unresolved.sort(byRank);
    const open = unresolved.filter((a) => a.status === "open");
    const shown = (this.mode === "open" ? open : unresolved).slice(0, SHOWN);
    const focused = document.activeElement?.closest?.(".alert")?.dataset.id;
    const inside = document.activeElement?.dataset?.act;
    this.#list.replaceChildren(...shown.map((a) => this.#card(a)));
    this.#list.setAttribute("aria-busy", "false");
    this.#empty.hidden = shown.length > 0;
    this.#filter.querySelector("[data-filter=open] b").textContent = open.length;
    this.#filter.querySelector("[data-filter=all] b").textContent = unresolved.length;
    if (focused) this.#refocus(focused, inside);
    this.onchange?.(unresolved);
  }

  #refocus(id, act) {
    const card = this.#list.querySelector(`[data-id="${CSS.escape(id)}"]`) ?? this.#list.querySelector(".alert");
    (act && card?.querySelector(`[data-act="${act}"]`) || card)?.focus({ preventScroll: true });
  }

  #card(alert) {
    const who = this.about(alert.delivery_id);
    const card = el("li", { class: `alert${alert.escalation ? " escalated" : ""}${this.#fresh.delete(alert.id) ? " fresh" : ""}`, tabindex: "0", "data-id": alert.id, "data-code": alert.code, "data-status": alert.status },
      el("span", { class: "rank", title: t("Rank by expected loss") }, alert.rank == null ? "·" : String(alert.rank)),
      el("div", { class: "body" },
        el("div", { class: "title" },
          el("a", { href: `/deliveries/${alert.delivery_id}`, tabindex: "-1" }, anomalyName(alert.code)), severityBadge(alert.severity), escalationBadge(alert)),
        el("div", { class: "meta" }, el("span", {}, who.number), who.plate && el("span", {}, who.plate)),
        el("div", { class: "meta" }, time(alert.raised_at, { short: true }), dueText(alert),
          alert.count > 1 && el("span", {}, `× ${alert.count}`)),
        el("div", { class: "row" }, this.#ackButton(alert),
          el("button", { type: "button", class: "small", "data-act": "map", onclick: (e) => { e.stopPropagation(); this.locate(alert); } }, t("On the map")))));
    card.addEventListener("click", (event) => { if (!event.target.closest("a, button")) location.assign(`/deliveries/${alert.delivery_id}`); });
    return card;
  }

  #ackButton(alert) {
    if (alert.status !== "open") return badge(alertStatusName(alert.status), "good");
    if (!handlesAlerts) return null;
    return el("button", { type: "button", class: "small primary", "data-act": "ack", onclick: (e) => { e.stopPropagation(); this.#ack(alert, e.currentTarget); } }, t("Acknowledge"));
  }

  async #ack(alert, button) {
    if (alert.status !== "open" || !handlesAlerts) return;
    if (button?.ariaDisabled === "true") return;
    if (button) button.ariaDisabled = "true";
    const now = await acknowledge(alert.id);
    if (now) {
      this.#alerts.set(alert.id, now);
      this.#told.set(alert.id, performance.now());
      this.#news.textContent = `${t("Acknowledged")}: ${anomalyName(alert.code)}`;
    }
    this.redraw();
  }

  #key(event) {
    const card = event.target.closest(".alert");
    if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
    const alert = this.#alerts.get(card.dataset.id);
    const own = event.target === card;
    const acts = {
      ArrowDown: () => card.nextElementSibling?.focus(),
      ArrowUp: () => card.previousElementSibling?.focus(),
      Enter: own && (() => location.assign(`/deliveries/${alert.delivery_id}`)),
      KeyA: () => this.#ack(alert),
      KeyM: () => this.locate(alert),
    };
    // Letters by their place on the keyboard: the same keys in Cyrillic layouts.
    const act = acts[event.code] || acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

function byRank(a, b) {
  return (a.rank ?? Infinity) - (b.rank ?? Infinity)
    || ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity)
    || a.raised_at.localeCompare(b.raised_at);
}

export function dueText(alert) {
  if (!alert.due_at || (alert.status !== "open" && alert.status !== "acknowledged")) return null;
  const left = (new Date(alert.due_at) - Date.now()) / 1000;
  return left >= 0
    ? el("span", {}, t("due in {span}", { span: span(left) }))
    : el("span", { class: "late" }, t("overdue by {span}", { span: span(-left) }));
}

/** Says that an unresolved alert's time has passed and whose it is now. */
export function escalationBadge(alert) {
  if (!alert.escalation || (alert.status !== "open" && alert.status !== "acknowledged")) return "";
  return badge(t("Escalated: {role}", { role: t(`role.${alert.escalated_to}`) }), "critical", "critical");
}
