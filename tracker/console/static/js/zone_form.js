// The form of a zone: a new one, or a new version of one; errors of the API stand at their fields.
import { api, el, fromLocalField, named, number, t, time, toLocalField } from "./core.js";
import { MOST_CORNERS } from "./outline.js";
import { areaM2, geometryOf, partsOf, readOutline, writeOutline } from "./shapes.js";
import { KINDS } from "./zone_map.js";
import { areaText, kindHelp, kindName, phrase, placeIn, said } from "./zone_words.js";

const $ = (id) => document.getElementById(id);
const LANGUAGES = ["ru", "kk", "en"];
const MINUTE_S = 60;
const PAUSE_MS = 350;

/** The form; `onsaved(zone)` and `onclosed()` follow its two ends. */
export class ZoneForm {
  #form = $("form");
  #editor;
  #base = null; // the newest version, when one is changed
  #clean = "";
  #typed = 0;
  #textFault = null;
  #hooks;

  constructor(editor, hooks) {
    this.#editor = editor;
    this.#hooks = hooks;
    this.#form.elements.kind.append(...KINDS.map((kind) => el("option", { value: kind }, kindName(kind))));
    this.#form.addEventListener("submit", (event) => { event.preventDefault(); this.#save(); });
    this.#form.addEventListener("input", (event) => this.#input(event.target));
    $("outline").addEventListener("click", (event) => this.#outlineButton(event.target.dataset.outline));
    addEventListener("beforeunload", (event) => { if (this.dirty) event.preventDefault(); });
  }

  get open() { return !$("view-form").hidden; }
  get dirty() { return this.open && this.#state() !== this.#clean; }

  /** Open for a new zone, or (with its newest version) for a new version of one. */
  start(base = null) {
    this.#form.reset();
    this.#say("");
    this.#clearErrors();
    $("lost").hidden = true;
    $("by-text").open = !this.#editor.attached; // without a map there is only text
    this.#editor.begin(base ? partsOf(base.geometry) : []);
    this.#rest(base);
    if (base) this.#fill(base);
    else this.#form.elements.kind.value = "parking"; // what is drawn the most often
    this.#kind();
    $("form-title").textContent = base ? t("New version: {name}", { name: named(base.name) }) : t("New zone");
    this.#clean = this.#state();
    $("form-title").focus();
    this.#form.querySelector(".scroll").scrollTop = 0;
  }

  /** Rest the change on a version: what it says of times and of the code. */
  #rest(base) {
    this.#base = base;
    const { code, valid_from: from } = this.#form.elements;
    code.readOnly = base !== null;
    const later = base?.valid_from && new Date(base.valid_from) > Date.now();
    if (later && !from.value) from.value = toLocalField(new Date(new Date(base.valid_from).getTime() + MINUTE_S * 1000));
    $("from-help").textContent = base ? t("Empty: from now on. It may lie in the past.") : t("Empty: it has always been.");
    $("form-hint").textContent = base ? t("The version in force until then is kept in the history. Deliveries under way are judged again.") : t("Deliveries under way are judged again with it.");
  }

  #fill(base) {
    const fields = this.#form.elements;
    for (const language of LANGUAGES) fields[`name.${language}`].value = base.name[language] ?? "";
    fields.kind.value = base.kind;
    fields.code.value = base.code;
    fields.max_dwell_s.value = base.max_dwell_s == null ? "" : String(base.max_dwell_s / MINUTE_S);
    // An end that has passed is what the new version takes back.
    if (base.valid_to && new Date(base.valid_to) > Date.now()) fields.valid_to.value = this.#ends();
  }

  #ends() { return this.#base?.valid_to ? toLocalField(new Date(this.#base.valid_to)) : ""; }

  close() {
    this.#editor.end();
    this.#clean = this.#state();
  }

  #state() {
    const { geometry, ...rest } = Object.fromEntries(new FormData(this.#form));
    return JSON.stringify([rest, this.#editor.parts]);
  }

  // -------------------------------------------------------------- what was entered

  #body() {
    const value = (name) => this.#form.elements[name].value.trim();
    const body = { name: Object.fromEntries(LANGUAGES.map((l) => [l, value(`name.${l}`)])), kind: value("kind") };
    if (!this.#base) body.code = value("code");
    const geometry = geometryOf(this.#editor.parts);
    if (geometry) body.geometry = geometry;
    const minutes = value("max_dwell_s").replace(",", ".");
    if (minutes) body.max_dwell_s = Number.isNaN(Number(minutes)) ? minutes : Number(minutes) * MINUTE_S;
    for (const name of ["valid_from", "valid_to"]) if (value(name)) body[name] = fromLocalField(value(name));
    // The field counts whole minutes; an end that was left as it is stays so to the millisecond.
    if (body.valid_to && value("valid_to") === this.#ends()) body.valid_to = this.#base.valid_to;
    return body;
  }

  async #save() {
    clearTimeout(this.#typed);
    if (this.#editor.drawing && !this.#editor.finish()) this.#editor.cancel();
    this.#readText();
    this.#clearErrors();
    if (this.#textFault) return this.#fieldErrors([["geometry", this.#textFault]]);
    const button = this.#form.querySelector("[type=submit]");
    button.disabled = true;
    this.#say("busy", t("Sending…"));
    try {
      const saved = this.#base
        ? await api(`/zones/${encodeURIComponent(this.#base.code)}`, { method: "PUT", body: this.#body(), headers: { "If-Match": `"${this.#base.version}"` } })
        : await api("/zones", { method: "POST", body: this.#body() });
      this.#clean = this.#state();
      this.#hooks.onsaved(saved);
    } catch (error) {
      if (error.status === 412) await this.#lost();
      else this.#refused(error);
    } finally {
      button.disabled = false;
    }
  }

  // -------------------------------------------------------------- what was refused

  #refused(error) {
    const known = (error.errors ?? []).map((e) => [this.#fieldOf(e.loc), e.msg]).filter(([field]) => field);
    if (known.length) this.#fieldErrors(known);
    else this.#say("error", error.message);
  }

  /** The field of a location in the request: `body.name.ru`, `body.geometry.Polygon…` */
  #fieldOf([, name, part]) {
    const field = name === "name" && part ? `${name}.${part}` : name;
    return this.#form.elements[field] ? field : null;
  }

  #fieldErrors(errors) {
    const first = new Map(errors.toReversed());
    for (const [field, message] of first) {
      const note = this.#form.querySelector(`[data-error="${field}"]`);
      note.textContent = said(message);
      note.hidden = false;
      this.#form.elements[field].setAttribute("aria-invalid", "true");
      if (field === "geometry") this.#editor.mark(placeIn(message));
    }
    this.#say("error", t("Not saved. Fields to correct: {n}", { n: first.size }));
    const target = this.#form.querySelector("[aria-invalid]");
    (target.name === "geometry" && !$("by-text").open ? $("outline") : target).focus();
  }

  #clearErrors() {
    for (const note of this.#form.querySelectorAll("[data-error]")) note.hidden = true;
    for (const field of this.#form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    this.#editor.mark(null);
  }

  #clearError(name) {
    const note = this.#form.querySelector(`[data-error="${name}"]`);
    if (!note || note.hidden) return;
    note.hidden = true;
    this.#form.elements[name].removeAttribute("aria-invalid");
    if (!this.#form.querySelector("[aria-invalid]")) this.#say("");
  }

  /** Somebody else was faster: what they entered is named, nothing of one's own is lost. */
  async #lost() {
    this.#say("");
    const versions = await this.#hooks.versions(this.#base.code).catch((error) => { this.#say("error", error.message); return null; });
    if (!versions) return;
    const newest = versions.at(-1);
    const who = newest.ended_by ?? newest.created_by ?? "–";
    const leave = (act) => () => { $("lost").hidden = true; act(); };
    $("lost").replaceChildren(
      el("p", {}, phrase(t("{who} has changed this zone in the meantime: version {n}, {time}. Nothing was saved; what you entered is still here."),
        { who, n: newest.version, time: time(newest.ended_at ?? newest.created_at) })),
      el("div", { class: "row" },
        el("button", { type: "button", class: "small", onclick: leave(() => this.start(newest)) }, t("Start from their version")),
        el("button", { type: "button", class: "small primary", onclick: leave(() => { this.#rest(newest); this.#save(); }) }, t("Save mine after it"))));
    $("lost").hidden = false;
    $("lost").scrollIntoView({ block: "nearest" });
  }

  #say(kind, message = "") {
    $("form-state").className = `form-state ${kind}`;
    $("form-state").textContent = message;
    $("form-state").hidden = !message;
  }

  // -------------------------------------------------------------- while it is filled in

  #input(field) {
    this.#clearError(field.name);
    if (field.name === "kind") this.#kind();
    if (field.name === "name.en" && !this.#base) this.#suggestCode(field.value);
    if (field.name === "geometry") {
      clearTimeout(this.#typed);
      this.#typed = setTimeout(() => this.#readText(), PAUSE_MS);
    }
  }

  #kind() { $("kind-help").textContent = kindHelp(this.#form.elements.kind.value); }

  /** A code from the English name, as long as nobody has typed another. */
  #suggestCode(name) {
    const { code } = this.#form.elements;
    if (code.value && code.value !== code.dataset.suggested) return;
    const word = name.normalize("NFKD").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-|-$/g, "").toUpperCase();
    code.value = word ? `Z-${word}`.slice(0, 64) : "";
    code.dataset.suggested = code.value;
    this.#clearError("code");
  }

  #readText() {
    const { geometry } = this.#form.elements;
    if (geometry.value.trim() === writeOutline(this.#editor.parts)) { this.#textFault = null; return; }
    try {
      const parts = readOutline(geometry.value);
      this.#textFault = null;
      if (JSON.stringify(parts) === JSON.stringify(this.#editor.parts)) return;
      this.#editor.replace(parts);
      this.#clearError("geometry");
      this.#hooks.onpasted(parts);
    } catch (error) {
      this.#textFault = error.message;
      const note = this.#form.querySelector("[data-error=geometry]");
      note.textContent = error.message;
      note.hidden = false;
      geometry.setAttribute("aria-invalid", "true");
    }
  }

  #outlineButton(act) {
    if (act === "draw") this.#editor.draw();
    if (act === "part") this.#editor.draw({ adds: true });
    if (act === "remove") this.#editor.remove();
    if (act === "undo") this.#editor.undo();
    if (act === "redo") this.#editor.redo();
  }

  /** The outline has changed: its size in words, its text, the buttons that make sense now. */
  outlineChanged() {
    const { parts, count, chosen, undoable, redoable } = this.#editor;
    const button = (act) => this.#form.querySelector(`[data-outline=${act}]`);
    button("draw").textContent = parts.length ? t("Draw anew") : t("Draw on the map");
    button("draw").classList.toggle("primary", !parts.length);
    button("part").hidden = !parts.length;
    button("remove").hidden = !chosen;
    button("undo").disabled = !undoable;
    button("redo").disabled = !redoable;
    $("outline-hint").hidden = !parts.length || count > MOST_CORNERS;
    $("outline-state").textContent = this.#size(parts, count);
    if (document.activeElement !== this.#form.elements.geometry) {
      this.#form.elements.geometry.value = writeOutline(parts);
      this.#textFault = null;
    }
    this.#clearError("geometry");
  }

  #size(parts, count) {
    if (!parts.length) return t("Not drawn yet.");
    const words = [t("Corners: {n}", { n: number(count) }), areaText(areaM2(parts))];
    if (parts.length > 1) words.push(t("parts: {n}", { n: parts.length }));
    if (count > MOST_CORNERS) words.push(t("too many corners to drag: draw anew or use coordinates"));
    if (!this.#hooks.nearHome(parts)) words.push(t("It lies outside Kazakhstan: is the longitude first?"));
    return words.join(" · ");
  }
}
