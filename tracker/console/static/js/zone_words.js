// Zones in words: state, kind, sizes, and what the API says of a field in the reader's language.
import { el, number, t, time } from "./core.js";

export const kindName = (kind) => t(`zonekind.${kind}`);
export const kindHelp = (kind) => t(`zonehelp.${kind}`);
export const swatch = (kind) => el("span", { class: `swatch ${kind}`, "aria-hidden": "true" });

/** now, later or over: where a version stands in time. */
export function stateOf(zone, now = Date.now()) {
  if (zone.valid_to && new Date(zone.valid_to) <= now) return "over";
  return zone.valid_from && new Date(zone.valid_from) > now ? "later" : "now";
}

/** A text with elements in its `{holes}`: the order of words is the language's. */
export function phrase(text, elements) {
  return el("span", {}, ...text.split(/(\{\w+\})/).map((part) => elements[part.slice(1, -1)] ?? part));
}

/** "from … until …", as far as there are such times. */
export function inForce(zone) {
  const times = { from: time(zone.valid_from), until: time(zone.valid_to) };
  if (zone.valid_from && zone.valid_to) return phrase(t("from {from} until {until}"), times);
  if (zone.valid_from) return phrase(t("from {from}"), times);
  return zone.valid_to ? phrase(t("until {until}"), times) : el("span", {}, t("always"));
}

export function areaText(m2) {
  if (m2 >= 1e6) return t("{n} km²", { n: number(m2 / 1e6, m2 >= 1e8 ? 0 : 2) });
  return m2 >= 1e4 ? t("{n} ha", { n: number(m2 / 1e4, 1) }) : t("{n} m²", { n: number(m2) });
}

const clock = (iso) => time(iso).textContent;
const SAID = [
  [/^is required|at least 1 character/, () => t("Fill this in.")],
  [/should match pattern/, () => t("Without spaces and without / ? # %")],
  [/exists; choose another code/, () => t("This code is taken; choose another.")],
  [/must lie after valid_from/, () => t("It must lie after the start.")],
  [/is in force from (\S+); give a later time/, (at) => t("The version before is in force from {time}; give a later time.", { time: clock(at) })],
  [/has ended at (\S+)/, (at) => t("The zone has ended at {time}.", { time: clock(at) })],
  [/it is the zone of post (.+), which/, (posts) => t("It is the zone of the post {posts}, which cannot be without one; enter a new version instead.", { posts })],
  [/outside the years/, () => t("Check the date: years 2000 to 2099.")],
  [/greater than 0|unable to parse|valid number/, () => t("Give a number above zero.")],
  [/less than or equal to 31536000/, () => t("A year at most.")],
  [/at most (\d+) characters/, (n) => t("At most {n} characters.", { n })],
  [/[Ss]elf-intersection/, () => t("The outline crosses itself at the marked place; move the corners so that its sides do not cross.")],
  [/Too few points|no area|at least 4 items|in a line/, () => t("An outline takes at least three corners that are not in one line.")],
  [/Nested|Hole|Holes|Duplicate|Interior is disconnected/, () => t("Parts or holes of the outline overlap; draw them apart.")],
];

/** A field's error in the reader's words, else in those of the API. */
export function said(message) {
  for (const [pattern, words] of SAID) {
    const found = pattern.exec(message);
    if (found) return words(...found.slice(1));
  }
  return message;
}

/** The place that a message on an outline names, [lon, lat], or null. */
export function placeIn(message) {
  const found = /\[(-?[\d.e-]+) (-?[\d.e-]+)\]/.exec(message);
  return found ? [Number(found[1]), Number(found[2])] : null;
}
