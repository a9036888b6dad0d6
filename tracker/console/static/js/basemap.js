// The map itself: style by theme and language, our basemap or a user's own PMTiles file.
import * as maplibregl from "/static/vendor/maplibre-gl/maplibre-gl.mjs";
import { locale, t } from "./core.js";

maplibregl.setWorkerUrl("/static/vendor/maplibre-gl/maplibre-gl-worker.mjs");

const dark = matchMedia("(prefers-color-scheme: dark)");
const FONTS = ["400", "600"].map((weight) => `${weight} 16px "Noto Sans"`);
const SAMPLE = "Az Яя Ққ Ғғ Өө Әә Ңң Ұұ Іі";
export const KAZAKHSTAN = [[46, 40], [88, 56]];

let archive;

function ownArchive() {
  if (!archive) {
    const protocol = new pmtiles.Protocol();
    archive = new pmtiles.PMTiles(new URL("/basemap.pmtiles", location).href);
    protocol.add(archive);
    maplibregl.addProtocol("pmtiles", protocol.tile);
  }
  return archive;
}

/** Create a map that has loaded its style. Throws when the browser has no WebGL or no style came. */
export async function createMap(container, { bounds = KAZAKHSTAN, ...options } = {}) {
  const [style] = await Promise.all([loadStyle(), ...FONTS.map((font) => document.fonts.load(font, SAMPLE))]);
  const map = new maplibregl.Map({
    container, style, bounds,
    fitBoundsOptions: { padding: 24 },
    attributionControl: { compact: true },
    dragRotate: false, pitchWithRotate: false, touchPitch: false,
    maxZoom: 17, renderWorldCopies: false,
    ...options,
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibregl.ScaleControl({ maxWidth: 110 }), "bottom-right");
  await new Promise((resolve) => map.once("style.load", resolve));
  map.getCanvas().setAttribute("aria-label", t("Map"));
  // On a phone the credits wait behind their button instead of covering the map.
  if (innerWidth < 740) {
    map.once("idle", () => map.getContainer().querySelector(".maplibregl-ctrl-attrib")?.classList.remove("maplibregl-compact-show"));
  }
  return map;
}

export const isDark = () => dark.matches;
/** Call `rebuild` when the reader's device turns dark or light. */
export const onTheme = (rebuild) => dark.addEventListener("change", rebuild);

export async function loadStyle() {
  const [answer, found] = await Promise.all([
    fetch(`/style/${isDark() ? "dark" : "light"}/${locale}.json`), describe()]);
  if (!answer.ok) throw new Error(t("The map style could not be loaded."));
  const style = await answer.json();
  if (!found) return { ...style, sources: {}, layers: style.layers.filter((l) => l.type === "background") };
  const { vector_layers: layers = [], attribution } = found.metadata;
  style.sources.basemap.url = `pmtiles://${ownArchive().source.getKey()}`;
  style.sources.basemap.attribution = (attribution ?? "").replace(/<[^>]*>/g, "");
  delete style.sources.basemap.maxzoom;
  if (found.raster) return rasterStyle(style);
  if (layers.some((l) => l.id === "places") && layers.some((l) => l.id === "land")) return style;
  return foreignStyle(style, layers);
}

async function describe() {
  try {
    const [header, metadata] = await Promise.all([ownArchive().getHeader(), ownArchive().getMetadata()]);
    return { raster: header.tileType !== 1, metadata: metadata ?? {} };
  } catch {
    return null; // no basemap: the routes and vehicles still show, on a plain ground
  }
}

function rasterStyle(style) {
  style.sources.basemap = { ...style.sources.basemap, type: "raster", tileSize: 256 };
  style.layers = [style.layers[0], { id: "raster", type: "raster", source: "basemap" }];
  return style;
}

/** A user's vector tiles of any schema: their layers by name, in our colours. */
function foreignStyle(style, layers) {
  const colour = (id, key) => style.layers.find((l) => l.id === id).paint[key];
  const water = colour("lakes", "fill-color");
  const kinds = [
    [/^(earth|land|landcover)$/, "fill", { "fill-color": colour("land", "fill-color") }],
    [/water|ocean/, "fill", { "fill-color": water }],
    [/river|waterway/, "line", { "line-color": water }],
    [/road|transport|street/, "line", { "line-color": colour("roads", "line-color"), "line-width": 1.2 }],
    [/bound|admin|border/, "line", { "line-color": colour("borders", "line-color"), "line-dasharray": [3, 1.5] }],
    [/^places?$/, "symbol", style.layers.find((l) => l.id === "cities").paint],
  ];
  const made = layers.flatMap(({ id }) => kinds.filter(([pattern]) => pattern.test(id)).map(([, type, paint]) => ({
    id: `own-${id}-${type}`, type, source: "basemap", "source-layer": id, paint,
    ...(type === "symbol" && { layout: { "text-field": ["coalesce", ["get", `name:${locale}`], ["get", "name"]], "text-font": ["Noto Sans"], "text-size": 12 } }),
  })));
  const order = ["fill", "line", "symbol"];
  made.sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type));
  return { ...style, layers: [style.layers[0], ...made] };
}

export { maplibregl };
