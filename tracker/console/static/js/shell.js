// On every page of a person who is logged in: a language link keeps the rest of the address.
for (const link of document.querySelectorAll(".languages a")) {
  const address = new URL(location.href);
  address.searchParams.set("lang", link.hreflang);
  link.href = address.pathname + address.search;
}
// On a phone the menu is wider than the screen: the present page's name is in sight.
document.querySelector(".menu [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
