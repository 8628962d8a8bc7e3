// Draws the plots, whose colours are those of the light scheme, in the scheme that the reader's system asks for.
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colours = JSON.parse(document.getElementById("colours").textContent);
  let drawn = [];

  async function draw() {
    for (const manager of drawn.splice(0)) manager.clear();
    for (const script of document.querySelectorAll("script.plot-data")) {
      let text = script.textContent;
      if (dark.matches) for (const [light, other] of Object.values(colours)) text = text.replaceAll(light, other);
      const place = document.getElementById(script.dataset.place);
      place.replaceChildren();
      drawn.push(await Bokeh.embed.embed_item(JSON.parse(text), place.id));
    }
    document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
  }

  dark.addEventListener("change", draw);
  draw();
})();
