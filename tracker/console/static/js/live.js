// The live map: fleet, routes, zones, posts, and the ranked alerts beside it.
import { all, api, el, failed, t, toast } from "./core.js";
import { createMap, loadStyle, maplibregl, onTheme } from "./basemap.js";
import { Fleet, VEHICLES, addOverlay, boundsOf, showDeadZones, showPosts, showRoutes, showZones } from "./overlay.js";
import { AlertList } from "./alerts.js";
import { listen } from "./stream.js";

const $ = (id) => document.getElementById(id);
const ACTIVE = ["declared", "released", "in_transit", "overdue", "enquiry"];
const GONE = new Set(["arrived", "under_control", "completed", "discrepancy", "cancelled", "non_delivery"]);

const deliveries = new Map();
let fleet;
let map;
let backdrop = { routes: [], zones: [], posts: [] };

const about = (id) => {
  const known = deliveries.get(id);
  if (!known) askFor(id);
  return { number: known?.registration_number ?? "…", plate: known?.vehicle?.plate };
};

const asked = new Set();
async function askFor(id) {
  if (asked.has(id)) return;
  asked.add(id);
  const found = await api(`/deliveries/${id}`).catch(() => null); // not ours to see: stays "…"
  if (found) { deliveries.set(id, found); list.redraw(); }
}

const list = new AlertList({
  list: $("alerts"), empty: $("alerts-empty"), news: $("news"), filter: $("alert-filter"), about, locate,
  onchange: (unresolved) => {
    const counts = new Map();
    for (const a of unresolved) counts.set(a.delivery_id, (counts.get(a.delivery_id) ?? 0) + 1);
    fleet?.setAlerts(counts);
    $("count-alerts").textContent = unresolved.length;
  },
});

async function loadAlerts() {
  const asked = performance.now();
  try {
    const [open, acknowledged] = await Promise.all(["open", "acknowledged"].map((s) => all(`/alerts?status=${s}`, 1000)));
    list.replace([...open, ...acknowledged], asked);
  } catch (error) {
    failed($("alerts"), error, loadAlerts);
  }
}

async function loadFleet() {
  const [positions, active] = await Promise.all([api("/positions"), all(`/deliveries?${ACTIVE.map((s) => `status=${s}`).join("&")}`, 20000)]);
  for (const delivery of active) deliveries.set(delivery.id, delivery);
  fleet.replace(positions.items.map(withPlate));
  count();
}

const withPlate = (p) => ({ ...p, plate: deliveries.get(p.delivery_id)?.vehicle?.plate });

function count() {
  $("count-devices").textContent = fleet.devices;
  $("count-deliveries").textContent = fleet.deliveries;
}

async function loadBackdrop() {
  const [routes, zones, posts] = await Promise.all([all("/routes?corridor=true"), all("/zones"), all("/posts")]);
  backdrop = { routes, zones, posts };
  showBackdrop();
}

function showBackdrop() {
  showRoutes(map, backdrop.routes);
  showZones(map, backdrop.zones);
  showPosts(map, backdrop.posts);
  showDeadZones(map, deadZones);
}

let deadZones = null;
$("dead-zones")?.addEventListener("change", async ({ target }) => {
  try {
    deadZones = target.checked ? await api("/dead-zones") : null;
    if (target.checked && !deadZones.features.length) toast(t("No dead zone is known yet."));
  } catch (error) {
    target.checked = false;
    toast(error.message);
  }
  if (map) showDeadZones(map, deadZones);
});

function locate(alert) {
  const [place] = fleet?.ofDelivery(alert.delivery_id) ?? [];
  if (place) map.flyTo({ center: [place.lon, place.lat], zoom: Math.max(map.getZoom(), 12), duration: 900 });
  else $("news").textContent = t("No position is known yet.");
}

// ---------------------------------------------------------------- the map

async function startMap() {
  const state = $("map-state");
  try {
    map = await createMap("map");
    addOverlay(map);
    fleet = new Fleet(map);
    clicks();
    onTheme(async () => {
      map.setStyle(await loadStyle(), { diff: false });
      map.once("style.load", () => { addOverlay(map); showBackdrop(); fleet.redraw(); });
    });
    await Promise.all([loadBackdrop(), loadFleet()]);
    frame();
    list.redraw();
    state.hidden = true;
    map.once("idle", () => { $("map").dataset.ready = "true"; });
  } catch (error) {
    state.replaceChildren(el("span", { class: "error", role: "alert" }, error.message));
  }
}

/** Show what there is: all declared routes, else the country. */
function frame() {
  const box = boundsOf(...backdrop.routes.map((r) => r.geometry));
  if (box) map.fitBounds(box, { padding: 50, maxZoom: 10, duration: 0 });
}

function clicks() {
  const popup = new maplibregl.Popup({ closeButton: false, offset: 12, maxWidth: "18rem" });
  // Whether the picture stands still: for people's scripts and for tests.
  map.on("movestart", () => { delete $("map").dataset.still; });
  map.on("idle", () => { $("map").dataset.still = "true"; });
  map.on("click", VEHICLES, (event) => location.assign(`/deliveries/${event.features[0].properties.delivery}`));
  map.on("mousemove", VEHICLES, (event) => {
    const { name, device } = event.features[0].properties;
    map.getCanvas().style.cursor = "pointer";
    popup.setLngLat(event.lngLat).setText(name === device ? name : `${name} · ${device}`).addTo(map);
  });
  map.on("mouseleave", VEHICLES, () => { map.getCanvas().style.cursor = ""; popup.remove(); });
}

// ---------------------------------------------------------------- sound, off until asked for

const sound = $("sound");
sound.checked = localStorage.getItem("sound") === "on";
sound.addEventListener("change", () => { localStorage.setItem("sound", sound.checked ? "on" : "off"); if (sound.checked) chime(); });

function chime() {
  const audio = new AudioContext();
  const [tone, volume] = [audio.createOscillator(), audio.createGain()];
  tone.frequency.value = 660;
  volume.gain.setValueAtTime(0.15, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.5);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.5);
  tone.onended = () => audio.close();
}

// ---------------------------------------------------------------- start

let newest = 0;
await listen({
  position: (p) => {
    if (!fleet) return;
    fleet.update(withPlate(p));
    if (Date.now() - newest > 1000) { newest = Date.now(); count(); }
  },
  alert: (alert) => { if (list.take(alert) && sound.checked) chime(); },
  delivery: (delivery) => {
    deliveries.set(delivery.id, { ...deliveries.get(delivery.id), ...delivery });
    if (GONE.has(delivery.status)) fleet?.remove(delivery.id);
    list.redraw();
  },
}, { banner: $("connection"), onresume: () => { loadAlerts(); if (fleet) loadFleet().catch((error) => toast(error.message, true)); } });

await Promise.all([loadAlerts(), startMap()]);
