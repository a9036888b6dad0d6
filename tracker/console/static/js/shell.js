// On every page of a person who is logged in: a language link keeps the rest of the address.
for (const link of document.querySelectorAll(".languages a")) {
  const address = new URL(location.href);
  address.searchParams.set("lang", link.hreflang);
  link.href = address.pathname + address.search;
}
// The session may have ended meanwhile: then there is nothing to log out of, only a page to leave.
const logout = document.querySelector(".logout");
logout?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await fetch(logout.action, { method: "POST", body: new URLSearchParams(new FormData(logout)), redirect: "manual" });
    location.assign("/login");
  } catch {
    logout.submit(); // no connection: the browser says so
  }
});
// On a phone the menu is wider than the screen: the present page's name is in sight.
document.querySelector(".menu [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
