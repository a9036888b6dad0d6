// Codes of the API in the reader's words: statuses, severities, anomalies and their evidence.
import { el, known, metres, number, span, t, time } from "./core.js";

const SHAPES = {
  critical: "M8 0l8 8-8 8-8-8z",
  high: "M8 1l8 14H0z",
  medium: "M8 0a8 8 0 1 1 0 16A8 8 0 0 1 8 0z",
  low: "M1 1h14v14H1z",
  info: "M0 6h16v4H0z",
};
const coded = (family, code) => (known(`${family}.${code}`) ? t(`${family}.${code}`) : String(code).replaceAll("_", " "));

export const anomalyName = (code) => coded("anomaly", code);
export const statusName = (code) => coded("status", code);
export const alertStatusName = (code) => coded("alert", code);
export const findingName = (code) => coded("finding", code);
export const severityName = (code) => coded("severity", code);
export const directionName = (code) => coded("direction", code);
export const corridorName = (code) => coded("corridor", code);
export const levelName = (code) => coded("level", code);
export const measureName = (code) => coded("measure", code);
export const contradictionName = (c) => (known(`contradiction.${c.code}`) ? t(`contradiction.${c.code}`) : c.msg);
export const historyName = (code) => coded("history", code);

const CODES_AND_TIMES = /\b[a-z]+(?:_[a-z]+)*\b|\d{4}-\d\d-\d\dT[\d:.]+Z/g;

/** A line of the system's own: its codes in the reader's words, its times in Kazakhstan's. */
export function historyText(line) {
  if (line.who !== "system") return line.text;
  const raised = /^level (\d+): (\w+); due (\S+)$/.exec(line.text);
  if (raised && known(`role.${raised[2]}`)) return t("level {n}: {role}; due {time}", { n: raised[1], role: t(`role.${raised[2]}`), time: time(raised[3]).textContent });
  return line.text.replace(CODES_AND_TIMES, (found) => {
    if (/^\d/.test(found)) return time(found).textContent;
    return ["anomaly", "severity", "history"].map((family) => `${family}.${found}`).filter(known).map((id) => t(id))[0] ?? found;
  });
}

export function severityBadge(severity) {
  return badge(severityName(severity), severity, severity);
}

/** A badge: a shape and a word; the colour only helps. */
export function badge(text, tone = "info", shape = null) {
  const made = el("span", { class: `badge ${tone}` });
  if (shape) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("viewBox", "0 0 16 16");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", SHAPES[shape]);
    svg.append(path);
    made.append(svg);
  }
  made.append(text);
  return made;
}

const TONES = {
  overdue: "high", enquiry: "high", non_delivery: "critical", discrepancy: "critical",
  completed: "good", arrived: "good", in_transit: "low",
};
export const statusBadge = (status) => badge(statusName(status), TONES[status] ?? "info");
export const levelBadge = (level) =>
  badge(levelName(level), { low: "good", medium: "medium", high: "critical" }[level], { low: "low", medium: "medium", high: "critical" }[level]);

// ---------------------------------------------------------------- evidence

const UNITS = [
  [/_m$/, (v) => metres(v)],
  [/_s$/, (v) => span(v)],
  [/_ms$/, (v) => time(new Date(v).toISOString())],
  [/_min$/, (v) => t("{n} min", { n: number(v) })],
  [/_kmh$/, (v) => t("{n} km/h", { n: number(v) })],
  [/_pct$/, (v) => `${number(v)} %`],
];

/** The evidence of an anomaly as rows of name and value, with their units. */
export function evidenceRows(evidence) {
  return Object.entries(evidence ?? {})
    .filter(([, value]) => value != null && value !== "")
    .map(([key, value]) => [evidenceName(key), evidenceValue(key, value)]);
}

const evidenceName = (key) =>
  known(`evidence.${key}`) ? t(`evidence.${key}`) : key.replace(/_(m|s|ms|min|kmh|pct)$/, "").replaceAll("_", " ");

function evidenceValue(key, value) {
  if (typeof value === "number") {
    const unit = UNITS.find(([pattern]) => pattern.test(key));
    return unit ? unit[1](value) : number(value, 2);
  }
  if (typeof value === "boolean") return value ? t("yes") : t("no");
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) return time(value);
  if (typeof value === "string" && known(`value.${value}`)) return t(`value.${value}`);
  if (key === "contradictions" && Array.isArray(value)) return el("ul", { class: "bare" }, value.map((one) => el("li", {}, ...contradictionFound(one))));
  if (Array.isArray(value) && value.length <= 8 && value.every((v) => typeof v !== "object")) return value.join(", ") || "–";
  return typeof value === "object" ? el("code", {}, JSON.stringify(value)) : String(value);
}

/** What an arrival and the telemetry do not agree on: "the seal's state differs · SEAL-1 · cut". */
function contradictionFound(one) {
  const parts = [coded("contradiction", one.kind), one.device, one.stated && coded("seal", one.stated),
    ...(one.findings ?? []).map(anomalyName), one.distance_m != null && metres(one.distance_m), one.t_ms && time(new Date(one.t_ms).toISOString())];
  return parts.filter(Boolean).flatMap((part, i) => (i ? [" · ", part] : [part]));
}

/** "from 12:04:10, for 22 min" — when an anomaly was. */
export function period(anomaly) {
  const parts = [time(anomaly.start)];
  if (anomaly.end && anomaly.end !== anomaly.start) {
    parts.push(" – ", time(anomaly.end), ` (${span((new Date(anomaly.end) - new Date(anomaly.start)) / 1000)})`);
  } else if (!anomaly.end && anomaly.status === "open") {
    parts.push(` · ${t("still going on")}`);
  }
  return parts;
}
