// Drawing an outline on the map and changing it: corners by click, by drag, by key.
import { geometryOf, within } from "./shapes.js";

const EMPTY = { type: "FeatureCollection", features: [] };
const MOUSE_PX = 8;
const FINGER_PX = 20;
const POINTER_PX = matchMedia("(pointer: coarse)").matches ? FINGER_PX : MOUSE_PX;
const MOST_MIDDLES = 400;
/** Beyond this many corners none is offered to be dragged: the map would not keep up. */
export const MOST_CORNERS = 3000;
const DIGITS = 6; // of a degree: a decimetre

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rounded = ({ lng, lat }) => [Number(lng.toFixed(DIGITS)), Number(lat.toFixed(DIGITS))];
const typing = (target) => target.closest?.("input, textarea, select, dialog");
const count = (parts) => parts.flat().reduce((n, ring) => n + ring.length, 0);

/** An outline being drawn or changed. `onchange()` follows every change, `ondraw()` the drawing. */
export class OutlineEditor {
  #map = null;
  #active = false;
  #parts = [];
  #ring = null; // corners of what is being drawn
  #adds = false;
  #cursor = null;
  #chosen = null;
  #dragged = null;
  #fault = null;
  #done = [];
  #undone = [];
  #pending = false;
  #onchange;
  #ondraw;

  constructor({ onchange, ondraw }) {
    this.#onchange = onchange;
    this.#ondraw = ondraw;
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("mouseup", () => this.#drop());
  }

  get attached() { return this.#map !== null; }
  get active() { return this.#active; }
  get drawing() { return this.#ring !== null; }
  get corners() { return this.#ring?.length ?? 0; }
  get parts() { return this.#parts; }
  get count() { return count(this.#parts); }
  get chosen() { return this.#chosen !== null; }
  get undoable() { return this.#done.length > 0; }
  get redoable() { return this.#undone.length > 0; }

  /** Work on a map; without one only text changes the outline. */
  attach(map) {
    this.#map = map;
    map.on("click", (event) => this.#click(event));
    map.on("dblclick", (event) => this.#doubleClick(event));
    map.on("mousedown", (event) => this.#grab(event, MOUSE_PX));
    map.on("touchstart", (event) => { if (event.points.length === 1) this.#grab(event, FINGER_PX); });
    map.on("mousemove", (event) => this.#move(event));
    map.on("touchmove", (event) => this.#move(event));
    map.on("touchend", () => this.#drop());
    this.addLayers();
  }

  /** Add the layers of the draft; again after the map's style was replaced. */
  addLayers() {
    const map = this.#map;
    const [line, edge] = [colour("--draft"), colour("--card")];
    const only = (role) => ["==", ["get", "role"], role];
    map.addSource("draft", { type: "geojson", data: EMPTY });
    map.addLayer({ id: "draft-area", type: "fill", source: "draft", filter: only("area"), paint: { "fill-color": line, "fill-opacity": 0.2 } });
    map.addLayer({ id: "draft-edge", type: "line", source: "draft", filter: only("area"), layout: { "line-join": "round" }, paint: { "line-color": line, "line-width": 2.5 } });
    map.addLayer({ id: "draft-way", type: "line", source: "draft", filter: only("way"), paint: { "line-color": line, "line-width": 2, "line-dasharray": [2, 1.5] } });
    map.addLayer({ id: "draft-middles", type: "circle", source: "draft", filter: only("middle"), paint: { "circle-radius": 4, "circle-color": edge, "circle-opacity": 0.9, "circle-stroke-color": line, "circle-stroke-width": 1.5 } });
    map.addLayer({ id: "draft-corners", type: "circle", source: "draft", filter: only("corner"), paint: { "circle-radius": ["case", ["get", "chosen"], 8, 6], "circle-color": ["case", ["get", "chosen"], line, edge], "circle-stroke-color": line, "circle-stroke-width": 2.5 } });
    map.addLayer({ id: "draft-fault", type: "circle", source: "draft", filter: only("fault"), paint: { "circle-radius": 11, "circle-color": "rgba(0,0,0,0)", "circle-stroke-color": colour("--critical"), "circle-stroke-width": 3 } });
    this.#show();
  }

  /** Begin to work on an outline; what was done before cannot be undone. */
  begin(parts) {
    this.#active = true;
    this.#parts = parts;
    this.#done = [];
    this.#undone = [];
    this.#reset();
  }

  /** Leave the outline alone and take it off the map. */
  end() {
    this.#active = false;
    this.#parts = [];
    this.#reset();
  }

  #reset() {
    this.#ring = null;
    this.#chosen = null;
    this.#dragged = null;
    this.#fault = null;
    this.#drawn();
    this.#changed();
  }

  /** Take another outline, as from text. */
  replace(parts) { this.#commit(parts); }

  /** Mark a place that is wrong, or none. */
  mark(place) {
    this.#fault = place;
    this.#show();
  }

  // -------------------------------------------------------------- drawing

  /** Draw a ring: in place of the outline, or as a further part (within another: a hole). */
  draw({ adds = false } = {}) {
    if (!this.#map) return;
    this.#ring = [];
    this.#adds = adds;
    this.#chosen = null;
    this.#fault = null;
    this.#map.getCanvas().focus();
    this.#drawn();
  }

  /** Add the middle of the map as a corner. */
  addCentre() { this.#addCorner(rounded(this.#map.getCenter())); }

  #addCorner(place) {
    const last = this.#ring.at(-1);
    if (last && last[0] === place[0] && last[1] === place[1]) return;
    this.#ring = [...this.#ring, place];
    this.#drawn();
  }

  /** Take back the last corner. */
  back() {
    this.#ring = this.#ring.slice(0, -1);
    this.#drawn();
  }

  /** End the drawing; false while it has too few corners. */
  finish() {
    if (this.#ring.length < 3) return false;
    const ring = this.#ring;
    this.#ring = null;
    const around = this.#adds ? this.#parts.findIndex(([outer]) => ring.every((corner) => within(corner, outer))) : -1;
    if (around >= 0) this.#commit(this.#parts.map((part, i) => (i === around ? [...part, ring] : part)));
    else this.#commit(this.#adds ? [...this.#parts, [ring]] : [[ring]]);
    this.#drawn();
    return true;
  }

  /** Give the drawing up: the outline stays as it was. */
  cancel() {
    this.#ring = null;
    this.#drawn();
  }

  #drawn() {
    if (!this.#ring) this.#cursor = null;
    // The second click of a double click must not zoom while corners are being set.
    this.#map?.doubleClickZoom[this.#ring ? "disable" : "enable"]();
    if (this.#map) this.#map.getCanvas().style.cursor = this.#ring ? "crosshair" : "";
    this.#show();
    this.#ondraw();
  }

  // -------------------------------------------------------------- changing

  #commit(parts) {
    this.#done.push(this.#parts);
    this.#undone = [];
    this.#take(parts);
  }

  #take(parts) {
    this.#parts = parts;
    this.#chosen = null;
    this.#fault = null;
    this.#changed();
  }

  undo() {
    if (!this.undoable) return;
    this.#undone.push(this.#parts);
    this.#take(this.#done.pop());
  }

  redo() {
    if (!this.redoable) return;
    this.#done.push(this.#parts);
    this.#take(this.#undone.pop());
  }

  /** Remove the chosen corner; a ring of three goes as a whole, an outer one with its holes. */
  remove() {
    if (!this.#chosen) return;
    const { part, ring, index } = this.#chosen;
    const corners = this.#parts[part][ring];
    if (corners.length > 3) return this.#commit(this.#withRing(part, ring, corners.toSpliced(index, 1)));
    this.#commit(ring === 0 ? this.#parts.toSpliced(part, 1) : this.#parts.with(part, this.#parts[part].toSpliced(ring, 1)));
  }

  #withRing(part, ring, corners) {
    return this.#parts.with(part, this.#parts[part].with(ring, corners));
  }

  #changed() {
    this.#show();
    this.#onchange();
  }

  // -------------------------------------------------------------- pointer and keys

  #click(event) {
    if (this.#ring) {
      const first = this.#ring[0] && this.#map.project(this.#ring[0]);
      const closes = this.#ring.length >= 3 && Math.hypot(first.x - event.point.x, first.y - event.point.y) <= POINTER_PX;
      if (closes) this.finish();
      else this.#addCorner(rounded(event.lngLat));
    } else if (this.#active) {
      const hit = this.#under(event.point, POINTER_PX);
      this.#chosen = hit?.role === "corner" ? hit : null;
      this.#changed();
    }
  }

  #doubleClick(event) {
    if (!this.#ring) return;
    event.preventDefault();
    // Its two clicks have set two corners at one place.
    const [before, last] = this.#ring.slice(-2).map((corner) => this.#map.project(corner));
    if (last && Math.hypot(last.x - before.x, last.y - before.y) <= MOUSE_PX) this.#ring = this.#ring.slice(0, -1);
    if (!this.finish()) this.#drawn();
  }

  #under(point, reach) {
    if (!this.#map.getLayer("draft-corners")) return null;
    const box = [[point.x - reach, point.y - reach], [point.x + reach, point.y + reach]];
    // The map may still show what was being drawn, whose corners are not yet of any ring.
    const hits = this.#map.queryRenderedFeatures(box, { layers: ["draft-corners", "draft-middles"] })
      .filter((hit) => hit.properties.index !== undefined);
    const distance = (hit) => {
      const at = this.#map.project(hit.geometry.coordinates);
      return Math.hypot(at.x - point.x, at.y - point.y) + (hit.properties.role === "corner" ? 0 : reach);
    };
    return hits.sort((a, b) => distance(a) - distance(b))[0]?.properties ?? null;
  }

  #grab(event, reach) {
    if (!this.#active || this.#ring) return;
    const hit = this.#under(event.point, reach);
    if (!hit) return;
    event.preventDefault(); // the map stays where it is
    this.#dragged = { ...hit, before: this.#parts, moved: false };
  }

  #move(event) {
    if (this.#dragged) this.#drag(rounded(event.lngLat));
    else if (this.#ring) {
      this.#cursor = rounded(event.lngLat);
      this.#show();
    } else if (this.#active && event.type === "mousemove") {
      this.#map.getCanvas().style.cursor = this.#under(event.point, MOUSE_PX) ? "grab" : "";
    }
  }

  #drag(place) {
    const { part, ring, index, role, moved } = this.#dragged;
    const corners = this.#parts[part][ring];
    const inserts = role === "middle" && !moved;
    this.#parts = this.#withRing(part, ring, inserts ? corners.toSpliced(index + 1, 0, place) : corners.with(this.#dragged.index, place));
    if (inserts) this.#dragged.index = index + 1;
    this.#dragged.moved = true;
    this.#show();
  }

  #drop() {
    if (!this.#dragged) return;
    const { moved, before } = this.#dragged;
    this.#dragged = null;
    if (!moved) return;
    const after = this.#parts;
    this.#parts = before;
    this.#commit(after);
  }

  #key(event) {
    if (!this.#active || event.defaultPrevented || typing(event.target)) return;
    const handled = this.#ring ? this.#drawingKey(event) : this.#changingKey(event);
    if (handled) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }

  #drawingKey(event) {
    const control = event.ctrlKey || event.metaKey;
    const onMap = event.target === this.#map.getCanvas();
    if (event.key === "Escape") this.cancel();
    else if (event.key === "Backspace" || control && event.code === "KeyZ") this.back();
    else if (event.key === "Enter" && event.target.tagName !== "BUTTON") { if (!this.finish()) this.#ondraw("few"); }
    else if (event.key === " " && onMap) this.addCentre();
    else return false;
    return true;
  }

  #changingKey(event) {
    const control = event.ctrlKey || event.metaKey;
    if (control && event.code === "KeyZ") this[event.shiftKey ? "redo" : "undo"]();
    else if (control && event.code === "KeyY") this.redo();
    else if (this.#chosen && (event.key === "Delete" || event.key === "Backspace")) this.remove();
    else if (this.#chosen && event.key === "Escape") { this.#chosen = null; this.#changed(); }
    else return false;
    return true;
  }

  // -------------------------------------------------------------- what is seen

  #show() {
    if (this.#pending || !this.#map) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      this.#map.getSource("draft")?.setData({ type: "FeatureCollection", features: this.#active ? this.#features() : [] });
    });
  }

  #features() {
    const feature = (role, geometry, more = {}) => ({ type: "Feature", geometry, properties: { role, ...more } });
    const point = (coordinates) => ({ type: "Point", coordinates });
    const seen = !this.#ring || this.#adds ? this.#parts : [];
    const made = seen.length ? [feature("area", geometryOf(seen))] : [];
    if (this.#ring) {
      const way = this.#cursor ? [...this.#ring, this.#cursor] : this.#ring;
      if (way.length > 2) made.push(feature("area", geometryOf([[way]])));
      else if (way.length === 2) made.push(feature("way", { type: "LineString", coordinates: way }));
      made.push(...this.#ring.map((corner) => feature("corner", point(corner), { chosen: false })));
    } else {
      made.push(...this.#handles(feature, point));
    }
    if (this.#fault) made.push(feature("fault", point(this.#fault)));
    return made;
  }

  #handles(feature, point) {
    const total = count(this.#parts);
    if (total > MOST_CORNERS) return [];
    const is = (at, part, ring, index) => at?.part === part && at.ring === ring && at.index === index;
    return this.#parts.flatMap((rings, part) => rings.flatMap((corners, ring) => corners.flatMap(([lon, lat], index) => {
      const corner = feature("corner", point([lon, lat]), { part, ring, index, chosen: is(this.#chosen, part, ring, index) });
      const next = corners[(index + 1) % corners.length];
      const middle = total <= MOST_MIDDLES && feature("middle", point([(lon + next[0]) / 2, (lat + next[1]) / 2]), { part, ring, index });
      return middle ? [middle, corner] : [corner];
    })));
  }
}
