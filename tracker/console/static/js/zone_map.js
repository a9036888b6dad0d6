// Zones on the map, each kind in its colour: areas near by, dots from afar, names beside them.
import { named } from "./core.js";
import { boundsOf } from "./overlay.js";

export const KINDS = ["post", "border", "parking", "rest", "fuel", "terminal", "restricted", "territory"];
const EMPTY = { type: "FeatureCollection", features: [] };
const NEAR_ZOOM = 9;
const LAYERS = ["zone-dots", "zone-areas"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const middleOf = (geometry) => {
  const [[west, south], [east, north]] = boundsOf(geometry);
  return [(west + east) / 2, (south + north) / 2];
};
const sizeOf = (geometry) => {
  const [[west, south], [east, north]] = boundsOf(geometry);
  return (east - west) * (north - south);
};

/** Add all sources and layers of the zones, empty. */
export function addZoneLayers(map) {
  for (const name of ["zones", "zone-dots", "former"]) map.addSource(name, { type: "geojson", data: EMPTY });
  const kind = ["match", ["get", "kind"], ...KINDS.flatMap((k) => [k, colour(`--zone-${k}`)]), colour("--soft")];
  const edge = colour("--card");
  const chosen = (yes, no) => ["case", ["get", "chosen"], yes, no];
  const names = map.getStyle().layers.find((layer) => layer.type === "symbol")?.id;
  // A territory would cover the map: only its edge is drawn.
  map.addLayer({ id: "zone-areas", type: "fill", source: "zones", filter: ["!=", ["get", "kind"], "territory"], paint: { "fill-color": kind, "fill-opacity": chosen(0.35, 0.2) } }, names);
  map.addLayer({ id: "zone-edges", type: "line", source: "zones", layout: { "line-join": "round" }, paint: { "line-color": kind, "line-width": chosen(3.5, 1.6) } }, names);
  map.addLayer({ id: "former", type: "line", source: "former", layout: { "line-join": "round" }, paint: { "line-color": colour("--ink"), "line-width": 2, "line-dasharray": [2, 2] } });
  map.addLayer({ id: "zone-dots", type: "circle", source: "zone-dots", maxzoom: NEAR_ZOOM, paint: { "circle-radius": chosen(8, 4.5), "circle-color": kind, "circle-stroke-color": chosen(colour("--ink"), edge), "circle-stroke-width": chosen(2.5, 1.2) } });
  map.addLayer({
    id: "zone-names", type: "symbol", source: "zone-dots", minzoom: 7,
    layout: { "text-field": ["get", "name"], "text-font": ["Noto Sans"], "text-size": 11.5, "text-anchor": "top", "text-offset": [0, 0.7], "text-optional": true },
    paint: { "text-color": colour("--ink"), "text-halo-color": edge, "text-halo-width": 1.4 },
  });
}

/** Show zones; the chosen one stands out. */
export function drawZones(map, zones, chosen) {
  const about = (z) => ({ code: z.code, kind: z.kind, name: named(z.name), size: sizeOf(z.geometry), chosen: z.code === chosen });
  const features = (place) => ({ type: "FeatureCollection", features: zones.map((z) => ({ type: "Feature", geometry: place(z), properties: about(z) })) });
  map.getSource("zones")?.setData(features((z) => z.geometry));
  map.getSource("zone-dots")?.setData({ type: "FeatureCollection", features: features((z) => ({ type: "Point", coordinates: middleOf(z.geometry) })).features.filter((f) => f.properties.kind !== "territory") });
}

/** Show an outline of before as a dashed line, or none. */
export function drawFormer(map, geometry) {
  map.getSource("former")?.setData(geometry ? { type: "Feature", geometry, properties: {} } : EMPTY);
}

/** The smallest zone at a point of the screen: one that lies within another is meant. */
export function zoneAt(map, { x, y }) {
  const reach = 3;
  const layers = LAYERS.filter((id) => map.getLayer(id));
  const hits = map.queryRenderedFeatures([[x - reach, y - reach], [x + reach, y + reach]], { layers });
  return hits.map((hit) => hit.properties).sort((a, b) => a.size - b.size)[0] ?? null;
}

/** Bring geometries into view. */
export function frame(map, geometries, { animate = true } = {}) {
  const box = boundsOf(...geometries);
  const edge = Math.min(90, map.getContainer().clientHeight / 6);
  const padding = { top: edge, left: edge, right: edge, bottom: edge + 16 }; // the scale lies below
  if (box) map.fitBounds(box, { padding, maxZoom: 14.5, duration: animate ? 600 : 0 });
}
