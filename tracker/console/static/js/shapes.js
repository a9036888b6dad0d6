// Outlines as lists of parts, each of rings, each of corners [lon, lat] of which none is repeated
// at the end; to and from GeoJSON and what people type.
import { t } from "./core.js";

const EARTH_RADIUS_M = 6_371_008.8; // the mean radius, IUGG
const LEAST_CORNERS = 3;

/** The parts of a GeoJSON Polygon or MultiPolygon. */
export function partsOf(geometry) {
  const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
  return polygons.map((rings) => rings.map(opened));
}

/** The GeoJSON of parts; null where there are none. */
export function geometryOf(parts) {
  if (!parts.length) return null;
  const polygons = parts.map((rings) => rings.map((ring) => [...ring, ring[0]]));
  return polygons.length === 1
    ? { type: "Polygon", coordinates: polygons[0] }
    : { type: "MultiPolygon", coordinates: polygons };
}

const same = (a, b) => a[0] === b[0] && a[1] === b[1];
const opened = (ring) => {
  const corners = ring.map(([lon, lat]) => [lon, lat]);
  return corners.length > 1 && same(corners[0], corners.at(-1)) ? corners.slice(0, -1) : corners;
};

/** What was typed or pasted as parts. Throws an Error with words for the reader. */
export function readOutline(text) {
  const typed = text.trim();
  if (!typed) return [];
  const parts = /^[[{]/.test(typed) ? fromJson(parsed(typed)) : [[opened(typed.split("\n").filter((l) => l.trim()).map(cornerOf))]];
  for (const ring of parts.flat()) {
    if (ring.length < LEAST_CORNERS) throw new Error(t("An outline takes at least three corners that are not in one line."));
    for (const place of ring) if (!isPlace(place)) throw new Error(t("{place} is not a longitude and a latitude.", { place: place.join(", ") }));
  }
  return parts;
}

function parsed(typed) {
  try {
    return JSON.parse(typed);
  } catch {
    throw new Error(t("This is not valid JSON: check brackets and commas."));
  }
}

function cornerOf(line, index) {
  const numbers = line.trim().split(/[\s,;]+/).map(Number);
  if (numbers.length < 2 || numbers.some(Number.isNaN)) {
    throw new Error(t("Line {n}: give a longitude and a latitude, such as 76.900, 43.250", { n: index + 1 }));
  }
  return numbers.slice(0, 2);
}

function fromJson(value) {
  const foreign = new Error(t("Give a Polygon or a MultiPolygon, or a list of corners."));
  if (value?.type === "Feature") return fromJson(value.geometry);
  if (value?.type === "FeatureCollection") return (value.features ?? []).flatMap(fromJson);
  if (value?.type === "GeometryCollection") return (value.geometries ?? []).flatMap(fromJson);
  const depth = depthOf(value?.type ? value.coordinates : value);
  const polygons = { 2: (c) => [[c]], 3: (c) => [c], 4: (c) => c }[depth];
  if (!polygons || (value.type && value.type !== { 3: "Polygon", 4: "MultiPolygon" }[depth])) throw foreign;
  try {
    return polygons(value.type ? value.coordinates : value).map((rings) => rings.map(opened));
  } catch {
    throw foreign;
  }
}

const depthOf = (value) => (Array.isArray(value) && value.length ? 1 + depthOf(value[0]) : 0);
const isPlace = ([lon, lat]) => Number.isFinite(lon) && Number.isFinite(lat) && Math.abs(lon) <= 180 && Math.abs(lat) <= 90;

/** GeoJSON that a person can read: a corner a line. */
export function writeOutline(parts) {
  const geometry = geometryOf(parts);
  if (!geometry) return "";
  return JSON.stringify(geometry, null, 1).replace(/\[\s+(-?[\d.e-]+),\s+(-?[\d.e-]+)\s+\]/g, "[$1, $2]");
}

/** Area on the sphere, m²: outer rings less their holes. */
export function areaM2(parts) {
  return parts.reduce((sum, [outer, ...holes]) => sum + ringArea(outer) - holes.reduce((s, hole) => s + ringArea(hole), 0), 0);
}

function ringArea(ring) {
  const rad = (degrees) => (degrees * Math.PI) / 180;
  const sum = ring.reduce((total, [lon, lat], i) => {
    const [lon2, lat2] = ring[(i + 1) % ring.length];
    return total + rad(lon2 - lon) * (2 + Math.sin(rad(lat)) + Math.sin(rad(lat2)));
  }, 0);
  return Math.abs(sum) * EARTH_RADIUS_M ** 2 / 2;
}

/** Whether a place lies within a ring, by the crossings of a ray to the east. */
export function within([lon, lat], ring) {
  return ring.reduce((inside, [lon1, lat1], i) => {
    const [lon2, lat2] = ring[(i + 1) % ring.length];
    const crosses = (lat1 > lat) !== (lat2 > lat) && lon < lon1 + ((lat - lat1) / (lat2 - lat1)) * (lon2 - lon1);
    return crosses ? !inside : inside;
  }, false);
}
