// Draws the volumes that the report carries with niivue, which it carries too; asks the network for nothing.
"use strict";
(() => {
  const place = document.getElementById("viewer");
  const form = place.querySelector("form");
  const canvas = place.querySelector("canvas");
  const read = (name) => document.getElementById(name).textContent;
  const { items, labels, start_mm } = JSON.parse(read("viewer-data"));
  const control = (name) => form.elements[name];
  const value = (name) => Number(control(name).value);
  const axes = ["x", "y", "z"];
  let nv, frames;

  async function library() {
    const bytes = Uint8Array.from(atob(read("viewer-code")), (letter) => letter.charCodeAt(0));
    const script = document.createElement("script");
    script.textContent = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
    document.head.append(script);
    return globalThis.niivue;
  }

  function palette() {
    const ids = Object.keys(labels).map(Number);
    const column = (index) => [0, ...ids.map((id) => labels[id][index])];
    return { I: [0, ...ids], R: column(1), G: column(2), B: column(3), A: [0, ...ids.map(() => 255)], labels: column(0).map(String) };
  }

  async function choose() {
    const { image, labels: overlay, captions } = items[value("volume")];
    const { NVImage } = globalThis.niivue;
    const volumes = [
      await NVImage.loadFromBase64({ base64: image, name: "image.nii.gz", colormap: "gray", cal_min: 0, cal_max: 255 }),
      await NVImage.loadFromBase64({ base64: overlay, name: "labels.nii.gz", opacity: value("opacity") }),
    ];
    volumes[1].setColormapLabel(palette());
    for (const old of [...nv.volumes]) nv.removeVolume(old);
    for (const volume of volumes) nv.addVolume(volume);
    frames = captions;
    control("step").max = captions.length - 1;
    control("step").value = 0;
    control("step").parentElement.hidden = captions.length === 1;
    shade();
    climb();
  }

  function climb() {
    for (const volume of nv.volumes) nv.setFrame4D(volume.id, value("step"));
    tell();
  }

  function shade() {
    const [image] = nv.volumes;
    image.cal_min = 255 * Math.min(value("low"), value("high") - 0.01);
    image.cal_max = 255 * value("high");
    nv.setOpacity(1, value("opacity"));
    nv.updateGLVolume();
    tell();
  }

  function cut() {
    nv.scene.crosshairPos = nv.mm2frac(axes.map(value));
    nv.drawScene();
    nv.createOnLocationChange();
  }

  function tell(location) {
    if (location) {
      axes.forEach((axis, index) => (control(axis).value = location.mm[index]));
      const [image, label] = location.values.map((found) => found.value);
      place.dataset.at = `${axes.map(value).join(", ")} mm: ${(image / 255).toFixed(2)}, ${labels[label]?.[0] ?? "background"}`;
    }
    const texts = { step: `${value("step") + 1} of ${frames.length}`, opacity: `${Math.round(100 * value("opacity"))} %` };
    for (const input of form.querySelectorAll("input")) {
      const unit = axes.includes(input.name) ? " mm" : "";
      input.parentElement.querySelector("output").textContent = texts[input.name] ?? `${Number(Number(input.value).toFixed(2))}${unit}`;
    }
    form.querySelector(".where").textContent = `${items[value("volume")].name}: ${frames[value("step")]}. At ${place.dataset.at ?? ""}.`;
  }

  function limits() {
    const { dims, matRAS } = nv.volumes[0];
    const spacing = Math.abs(matRAS[0]);
    axes.forEach((axis, index) => {
      const low = matRAS[4 * index + 3];
      Object.assign(control(axis), { min: low, max: low + spacing * (dims[index + 1] - 1), step: spacing / 2, value: start_mm[index] });
    });
  }

  const layout = () => nv.setMultiplanarLayout(canvas.clientWidth > 640 ? 3 : 2); // a row, or on a phone two by two

  function tap(event) {
    if (event.target === canvas) return; // a mouse, which niivue follows itself; fingers pass through the canvas, so that they can scroll the page
    const { left, top } = canvas.getBoundingClientRect();
    nv.mouseClick(event.clientX - left, event.clientY - top);
  }

  async function start() {
    if (!document.createElement("canvas").getContext("webgl2")) throw new Error("no WebGL 2");
    const { Niivue } = await library();
    nv = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 0.8, 0.2, 0.8],
      crosshairWidth: 0.7,
      crosshairWidthUnit: "mm",
      dragMode: 0,
      dragAndDropEnabled: false,
      logLevel: "error",
      loadingText: "",
      multiplanarShowRender: 0,
      scrollRequiresFocus: true,
    });
    place.dataset.state = "starting";
    await nv.attachToCanvas(canvas);
    nv.onLocationChange = tell;
    nv.setSliceType(nv.sliceTypeMultiplanar);
    await choose();
    limits();
    cut();
    layout();
    addEventListener("resize", layout);
    canvas.parentElement.addEventListener("click", tap);
    const deeds = { volume: choose, step: climb, low: shade, high: shade, opacity: shade };
    form.addEventListener("input", (event) => (deeds[event.target.name] ?? cut)());
    form.addEventListener("submit", (event) => event.preventDefault());
    place.dataset.state = "ready";
  }

  const seen = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      start().catch((error) => {
        place.dataset.state = "absent";
        console.warn(`no viewer: ${error.message}`);
      });
    },
    { rootMargin: "600px" },
  );
  seen.observe(place);
})();
