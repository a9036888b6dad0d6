// What lies over the basemap: corridors, zones, posts, tracks, anomalies, vehicles and seals.
import { locale, named } from "./core.js";
import { isDark } from "./basemap.js";

const EMPTY = { type: "FeatureCollection", features: [] };
const PIXEL_RATIO = 2;
const NEAR_ZOOM = 6;
const MANY = 2000;
/** Layers that stand for vehicles and seals, to be pointed at. */
export const VEHICLES = ["vehicles", "vehicles-far"];
const colours = () => (isDark()
  ? { route: "#5db3dd", zone: "#5cc389", dead: "#9aa4ae", bad: "#ff6f8f", post: "#c8d3dd", vehicle: "#46b4e0", seal: "#b79bea", edge: "#0e151b", text: "#dfe6ec", track: "#f0d264", alarm: "#e23b63" }
  : { route: "#267aa8", zone: "#2e7d50", dead: "#5d6670", bad: "#b3173f", post: "#344454", vehicle: "#0f5c7a", seal: "#6b4aa0", edge: "#ffffff", text: "#17222c", track: "#c2570c", alarm: "#b3173f" });

const collection = (features) => ({ type: "FeatureCollection", features });
const feature = (geometry, properties = {}) => ({ type: "Feature", geometry, properties });

/** Add all sources and layers of the overlay, empty. */
export function addOverlay(map) {
  const c = colours();
  for (const name of ["corridors", "dead-zones", "zones", "routes", "track", "posts", "anomalies", "vehicles"]) {
    map.addSource(name, { type: "geojson", data: EMPTY });
  }
  for (const [name, image] of Object.entries(icons(c))) {
    map.addImage(name, image, { pixelRatio: PIXEL_RATIO });
  }
  // Areas and lines lie under the names of the basemap, signs and their own names above.
  const names = map.getStyle().layers.find((layer) => layer.type === "symbol")?.id;
  for (const layer of layers(c)) map.addLayer(layer, layer.type === "symbol" ? undefined : names);
}

function layers(c) {
  const wide = (...stops) => ["interpolate", ["linear"], ["zoom"], ...stops];
  const zone = ["match", ["get", "kind"], "restricted", c.bad, c.zone];
  const label = { "text-color": c.text, "text-halo-color": c.edge, "text-halo-width": 1.4 };
  return [
    { id: "corridors", type: "fill", source: "corridors", paint: { "fill-color": c.route, "fill-opacity": 0.16 } },
    { id: "corridor-edges", type: "line", source: "corridors", minzoom: 7, paint: { "line-color": c.route, "line-opacity": 0.55, "line-width": 1 } },
    { id: "dead-zones", type: "fill", source: "dead-zones", paint: { "fill-color": c.dead, "fill-opacity": ["interpolate", ["linear"], ["get", "gaps"], 5, 0.25, 100, 0.6] } },
    { id: "dead-zone-edges", type: "line", source: "dead-zones", minzoom: 7, paint: { "line-color": c.dead, "line-width": 1 } },
    { id: "zones", type: "fill", source: "zones", filter: ["!=", ["get", "kind"], "territory"], paint: { "fill-color": zone, "fill-opacity": 0.18 } },
    { id: "zone-edges", type: "line", source: "zones", paint: { "line-color": zone, "line-width": 1.2, "line-dasharray": [2, 1.5] } },
    { id: "routes", type: "line", source: "routes", layout: { "line-join": "round", "line-cap": "round" }, paint: { "line-color": c.route, "line-width": wide(3, 1.2, 10, 3), "line-opacity": 0.8 } },
    { id: "track-edge", type: "line", source: "track", filter: ["==", ["geometry-type"], "LineString"], layout: { "line-join": "round", "line-cap": "round" }, paint: { "line-color": c.edge, "line-width": wide(4, 4, 12, 6) } },
    { id: "track", type: "line", source: "track", filter: ["==", ["geometry-type"], "LineString"], layout: { "line-join": "round", "line-cap": "round" }, paint: { "line-color": ["match", ["get", "kind"], "seal", c.seal, c.track], "line-width": wide(4, 2, 12, 3.5) } },
    { id: "anomaly-lines", type: "line", source: "anomalies", filter: ["in", ["geometry-type"], ["literal", ["LineString", "MultiLineString"]]], paint: { "line-color": c.alarm, "line-width": 5, "line-opacity": 0.8 } },
    { id: "posts", type: "symbol", source: "posts", layout: { "icon-image": "post", "icon-allow-overlap": true, "icon-size": wide(3, 0.55, 8, 1) } },
    { id: "post-names", type: "symbol", source: "posts", minzoom: 6, layout: { "text-field": ["get", "name"], "text-font": ["Noto Sans"], "text-size": 11.5, "text-anchor": "top", "text-offset": [0, 0.8] }, paint: label },
    { id: "anomaly-points", type: "symbol", source: "anomalies", filter: ["==", ["geometry-type"], "Point"], layout: { "icon-image": "alarm", "icon-allow-overlap": true, "text-field": ["step", ["zoom"], "", 8, ["get", "name"]], "text-optional": true, "text-font": ["Noto Sans"], "text-size": 11.5, "text-anchor": "left", "text-offset": [1, 0] }, paint: label },
    // Of a large fleet only circles are drawn far out: they cost the least (see Fleet).
    {
      id: "vehicles-far", type: "circle", source: "vehicles", maxzoom: 0,
      paint: { "circle-radius": ["match", ["get", "kind"], "seal", 2.5, 4], "circle-color": ["match", ["get", "kind"], "seal", c.seal, c.vehicle], "circle-stroke-color": c.edge, "circle-stroke-width": 1 },
    },
    {
      id: "vehicles", type: "symbol", source: "vehicles",
      layout: {
        "icon-image": ["get", "icon"], "icon-rotate": ["get", "heading"], "icon-rotation-alignment": "map",
        "icon-allow-overlap": true, "icon-ignore-placement": true, "icon-size": wide(3, 0.6, 9, 1), "symbol-sort-key": ["get", "order"],
      },
    },
    { id: "vehicle-alarms", type: "symbol", source: "vehicles", filter: [">", ["get", "alerts"], 0], layout: { "icon-image": "alarm", "icon-offset": [9, -9], "icon-allow-overlap": true, "icon-ignore-placement": true, "icon-size": wide(3, 0.7, 9, 0.9) } },
    { id: "vehicle-names", type: "symbol", source: "vehicles", minzoom: 8, filter: ["==", ["get", "kind"], "gps"], layout: { "text-field": ["get", "name"], "text-font": ["Noto Sans Semibold"], "text-size": 12, "text-anchor": "top", "text-offset": [0, 1], "text-optional": true }, paint: label },
  ];
}

// ---------------------------------------------------------------- icons, drawn

function icons(c) {
  return {
    moving: drawn(22, (g) => { shape(g, [[11, 2], [19, 20], [11, 16], [3, 20]], c.vehicle, c.edge); }),
    standing: drawn(18, (g) => { round(g, 9, 6, c.vehicle, c.edge); }),
    seal: drawn(16, (g) => { shape(g, [[3, 3], [13, 3], [13, 13], [3, 13]], c.seal, c.edge); }),
    post: drawn(18, (g) => { shape(g, [[4, 4], [14, 4], [14, 14], [4, 14]], c.edge, c.post, 3); }),
    alarm: drawn(18, (g) => {
      round(g, 9, 8, c.alarm, c.edge);
      g.fillStyle = "#fff";
      g.fillRect(8, 4.2, 2, 6);
      g.fillRect(8, 11.6, 2, 2);
    }),
  };
}

function drawn(size, draw) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size * PIXEL_RATIO;
  const g = canvas.getContext("2d");
  g.scale(PIXEL_RATIO, PIXEL_RATIO);
  draw(g);
  return g.getImageData(0, 0, canvas.width, canvas.height);
}

function shape(g, points, fill, edge, width = 2) {
  g.beginPath();
  points.forEach(([x, y], i) => (i ? g.lineTo(x, y) : g.moveTo(x, y)));
  g.closePath();
  paint(g, fill, edge, width);
}

function round(g, centre, radius, fill, edge) {
  g.beginPath();
  g.arc(centre, centre, radius, 0, 2 * Math.PI);
  paint(g, fill, edge, 2);
}

function paint(g, fill, edge, width) {
  g.lineJoin = "round";
  g.fillStyle = fill;
  g.strokeStyle = edge;
  g.lineWidth = width;
  g.stroke();
  g.fill();
  if (width > 2) g.stroke();
}

// ---------------------------------------------------------------- data

const set = (map, source, data) => map.getSource(source)?.setData(data);

export function showRoutes(map, routes) {
  set(map, "routes", collection(routes.filter((r) => r.geometry).map((r) => feature(r.geometry, { code: r.code }))));
  set(map, "corridors", collection(routes.filter((r) => r.corridor).map((r) => feature(r.corridor.geometry ?? r.corridor, { code: r.code }))));
}

export function showZones(map, zones) {
  set(map, "zones", collection(zones.map((z) => feature(z.geometry, { kind: z.kind, name: named(z.name) }))));
}

export const showDeadZones = (map, layer) => set(map, "dead-zones", layer ?? EMPTY);

export function showPosts(map, posts) {
  set(map, "posts", collection(posts.map((p) => feature(p.geometry, { name: named(p.name), code: p.code }))));
}

export const showTrack = (map, track) => set(map, "track", track ?? EMPTY);

export function showAnomalies(map, anomalies, name) {
  const standing = anomalies.filter((a) => a.geometry && a.status !== "retracted");
  set(map, "anomalies", collection(standing.map((a) => feature(a.geometry, { name: name(a.code), id: a.id }))));
}

/**
 * Vehicles and seals: positions are kept by device and shown all at once, at most once a second,
 * so that the work does not grow with the number of messages.
 */
export class Fleet {
  #map;
  #seen = new Map();
  #alerts = new Map();
  #pending = false;

  constructor(map) { this.#map = map; }

  get devices() { return this.#seen.size; }
  get deliveries() { return new Set([...this.#seen.values()].map((p) => p.delivery_id)).size; }
  ofDelivery(id) { return [...this.#seen.values()].filter((p) => p.delivery_id === id); }

  update(position) {
    if (position.lon == null || position.lat == null) return;
    const before = this.#seen.get(position.device_id);
    if (before && before.t > position.t) return; // a late record is history, not the place now
    this.#seen.set(position.device_id, { ...before, ...position });
    this.#later();
  }

  remove(deliveryId) {
    for (const p of this.ofDelivery(deliveryId)) this.#seen.delete(p.device_id);
    this.#later();
  }

  replace(positions) {
    this.#seen.clear();
    for (const position of positions) this.update(position);
    this.#later();
  }

  /** Open alerts by delivery, for the marks beside the vehicles. */
  setAlerts(counts) {
    this.#alerts = counts;
    this.#later();
  }

  /** Draw again on a map whose style was replaced. */
  redraw() { this.#later(); }

  #later() {
    if (this.#pending) return;
    this.#pending = true;
    setTimeout(() => requestAnimationFrame(() => {
      this.#pending = false;
      this.#suitLayers();
      set(this.#map, "vehicles", collection([...this.#seen.values()].map((p) => this.#feature(p))));
    }), this.#seen.size > 500 ? 1000 : 250);
  }

  #suitLayers() {
    if (!this.#map.getLayer("vehicles")) return; // a new style is on its way and will redraw
    const near = this.#seen.size > MANY ? NEAR_ZOOM : 0;
    this.#map.setLayerZoomRange("vehicles-far", 0, near);
    this.#map.setLayerZoomRange("vehicles", near, 24);
  }

  #feature(p) {
    const seal = p.kind === "seal";
    const moving = p.moving ?? (p.speed_kmh ?? 0) > 3;
    const icon = seal ? "seal" : moving && p.heading_deg != null ? "moving" : "standing";
    return feature({ type: "Point", coordinates: [p.lon, p.lat] }, {
      device: p.device_id, delivery: p.delivery_id, kind: p.kind, icon,
      heading: icon === "moving" ? p.heading_deg : 0,
      order: seal ? 0 : 1,
      alerts: seal ? 0 : this.#alerts.get(p.delivery_id) ?? 0,
      name: p.plate ?? p.registration_number ?? p.device_id,
    });
  }
}

/** The box around GeoJSON geometries, or null where there is no place. */
export function boundsOf(...geometries) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  const walk = (value) => {
    if (typeof value[0] === "number") {
      box[0] = Math.min(box[0], value[0]); box[1] = Math.min(box[1], value[1]);
      box[2] = Math.max(box[2], value[0]); box[3] = Math.max(box[3], value[1]);
    } else value.forEach(walk);
  };
  for (const g of geometries) if (g?.coordinates) walk(g.coordinates);
  return box[0] === Infinity ? null : [[box[0], box[1]], [box[2], box[3]]];
}
