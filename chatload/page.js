// Draws the plots, whose colours are those of the light scheme, in the scheme that the reader's system asks for.
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colours = JSON.parse(document.getElementById("colours").textContent);
  let drawn = [], last = Promise.resolve();

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

  const redraw = () => { last = last.then(draw); };  // one after the other, however fast the reader changes his mind
  dark.addEventListener("change", redraw);
  redraw();
})();
