// On every page of a person who is logged in: leaving, with the token that proves the page is ours.
import { t, toast } from "./core.js";

document.querySelector("[data-logout]").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = document.cookie.split("; ").find((c) => c.startsWith("tracker_csrf="))?.slice(13) ?? "";
  const headers = { "X-CSRF-Token": decodeURIComponent(token) };
  const answer = await fetch("/logout", { method: "POST", headers }).catch(() => null);
  if (answer) location.assign("/login");
  else toast(t("No connection to the server."), true);
});

// A language link keeps the rest of the address.
for (const link of document.querySelectorAll(".languages a")) {
  const address = new URL(location.href);
  address.searchParams.set("lang", link.hreflang);
  link.href = address.pathname + address.search;
}
