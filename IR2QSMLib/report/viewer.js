"use strict";
// Slices and a rendering that turns, drawn by NiiVue, in place of the page's own slices. All is drawn from `codes`, and
// moved by the page's controls. Without WebGL the page's own slices stay.
const EMPTY = -1;  // outside the mask: black, and not there in the rendering

function niftiFile(map) {
  const bytes = new ArrayBuffer(352 + 4 * nx * ny * nz), header = new DataView(bytes);
  const [dx, dy, dz] = data.voxel_size;
  const int16 = (at, ...values) => values.forEach((value, n) => header.setInt16(at + 2 * n, value, true));
  const float32 = (at, ...values) => values.forEach((value, n) => header.setFloat32(at + 4 * n, value, true));
  header.setInt32(0, 348, true);
  int16(40, 3, nx, ny, nz, 1, 1, 1, 1);
  int16(70, 16, 32);  // float32
  float32(76, 1, dx, dy, dz, 0, 0, 0, 0);
  float32(108, 352, 1, 0);  // where the voxels begin, slope, intercept
  header.setUint8(123, 2);  // mm
  int16(252, 0, 1);  // no quaternion, but an affine map to the right, the front and the head
  float32(280, -dx, 0, 0, dx * (nx - 1) / 2, 0, -dy, 0, dy * (ny - 1) / 2, 0, 0, dz, -dz * (nz - 1) / 2);
  [0x6e, 0x2b, 0x31].forEach((letter, n) => header.setUint8(344 + n, letter));
  const inside = codes[data.mask];
  new Float32Array(bytes, 352).set(Float32Array.from(codes[map], (code, n) => inside[n] > 128 ? ppmOfCode[code] : EMPTY));
  return bytes;
}

async function startViewer() {
  if (!document.createElement("canvas").getContext("webgl2")) {
    element("without").textContent = "This browser draws no WebGL 2, so the maps are shown as slices.";
    return null;
  }
  element("viewer").hidden = false;
  const nv = new niivue.Niivue({
    logLevel: "error", isRadiologicalConvention: true, isOrientCube: true, isColorbar: true, isAntiAlias: false,
    isNearestInterpolation: true, dragAndDropEnabled: false, multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
    crosshairColor: [0.9, 0.6, 0.2, 0.7], crosshairWidth: 0.6, show3Dcrosshair: true,
  });
  const sliders = Object.entries(planes).map(([name, {through}]) => [element(name), through]);
  // NiiVue counts voxels to the right, the front and the head, the page to the left, the back and the head.
  const fromPage = voxel => [nx - 1 - voxel[0], ny - 1 - voxel[1], voxel[2]];
  let shown = -1;
  nv.onLocationChange = ({vox}) => {
    const voxel = fromPage(vox.map(Math.round));
    for (const [slider, through] of sliders) {
      slider.value = voxel[through];
      slider.nextElementSibling.value = slider.value;
    }
    if (voxel.every((n, axis) => n >= 0 && n < data.shape[axis])) showValues(voxelIndex(voxel));
  };
  nv.onIntensityChange = volume => {  // dragged with the right button
    windows[shown] = [volume.cal_min, volume.cal_max];
    showWindow();
  };
  await nv.attachToCanvas(element("viewer").querySelector("canvas"));
  const volumes = await Promise.all(data.maps.map(({name}, map) =>
    niivue.NVImage.new(niftiFile(map), name + ".nii", "gray", 1, null, ...windows[map])));
  return {
    nv,
    draw() {
      const map = element("map").selectedIndex;
      if (map !== shown) {
        if (shown >= 0) nv.removeVolumeByIndex(0);
        nv.addVolume(volumes[map]);
        shown = map;
      }
      [volumes[map].cal_min, volumes[map].cal_max] = windows[map];
      const voxel = [];
      for (const [slider, through] of sliders) voxel[through] = +slider.value;
      const right = fromPage(voxel);
      nv.scene.crosshairPos = nv.vox2frac(right);
      nv.updateGLVolume();
      showValues(voxelIndex(voxel));
    },
  };
}
