"use strict";

// Lights up what a file of the dependency graph imports and who imports it, in the graph and in the list beside it.
const example = document.getElementById("dependency");
if (example) {
  const edges = [...example.querySelectorAll(".edge")];
  const files = [...example.querySelectorAll("[data-file]")];

  const show = (file) => {
    const imported = new Set(), importers = new Set();
    for (const edge of edges) {
      const from = edge.dataset.from === file, to = edge.dataset.to === file;
      edge.classList.toggle("out", from);
      edge.classList.toggle("in", to);
      if (from) imported.add(edge.dataset.to);
      if (to) importers.add(edge.dataset.from);
    }
    for (const element of files) {
      const its = element.dataset.file;
      element.classList.toggle("chosen", its === file);
      element.classList.toggle("imported", imported.has(its));
      element.classList.toggle("importer", importers.has(its));
    }
    example.classList.toggle("lit", file !== null);
  };

  for (const element of files) {
    element.addEventListener("pointerenter", () => show(element.dataset.file));
    element.addEventListener("pointerleave", () => show(null));
    element.addEventListener("focus", () => show(element.dataset.file));
    element.addEventListener("blur", () => show(null));
  }
}

// Says where a table is wider than the screen, and on which side there is more of it; the keyboard can scroll it.
const sayMore = (box) => {
  const hidden = box.scrollWidth - box.clientWidth;
  box.classList.toggle("wider", hidden > 1);
  box.classList.toggle("more-before", hidden > 1 && box.scrollLeft > 1);
  box.classList.toggle("more-after", box.scrollLeft < hidden - 1);
  if (hidden > 1) box.tabIndex = 0;
};
const sizes = new ResizeObserver((entries) => entries.forEach((entry) => sayMore(entry.target.closest(".scroll"))));
for (const box of document.querySelectorAll(".scroll")) {
  sizes.observe(box);
  sizes.observe(box.firstElementChild);
  box.addEventListener("scroll", () => sayMore(box), { passive: true });
}

// Marks the section that is being read in the table of contents.
const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
for (const section of document.querySelectorAll("main > section")) observer.observe(section);
