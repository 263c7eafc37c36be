// Where one looks from: two angles, a zoom, a shift. What is looked at lies in the cube from -1 to 1.

const START = { yaw: -0.5, pitch: 0.35, zoom: 1, x: 0, y: 0 };
const camera = { ...START };
// How much larger is what is nearer.
const DEPTH = 0.16;
const ZOOMS = [0.3, 60];

function turn(yaw, pitch) {
  camera.yaw += yaw;
  camera.pitch = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, camera.pitch + pitch));
}

// Zooms, and keeps what is at a place of the screen, in clip coordinates, where it is.
function zoom(factor, x = 0, y = 0) {
  const [least, most] = ZOOMS;
  const by = Math.max(least, Math.min(most, camera.zoom * factor)) / camera.zoom;
  camera.zoom *= by;
  camera.x = x + (camera.x - x) * by;
  camera.y = y + (camera.y - y) * by;
}

// The view of a canvas of this size: a rotation, row by row, and the scales of both directions.
function viewOf(width, height) {
  const [cy, sy, cp, sp] = [Math.cos(camera.yaw), Math.sin(camera.yaw), Math.cos(camera.pitch), Math.sin(camera.pitch)];
  // The cube and its names fit, however it is turned.
  const side = Math.min(0.54 * width, 0.55 * height) * camera.zoom;
  return {
    width, height,
    rotation: [cy, 0, sy, sp * sy, cp, -sp * cy, -cp * sy, sp, cp * cy],
    scale: [side / width, side / height],
    shift: [camera.x, camera.y],
  };
}

// Where a place is on the canvas, in pixels, and how near. The vertex shader does the same.
function project({ width, height, rotation: m, scale, shift }, x, y, z) {
  const depth = m[6] * x + m[7] * y + m[8] * z;
  const w = 1 - DEPTH * depth;
  const across = ((m[0] * x + m[1] * y + m[2] * z) * scale[0]) / w + shift[0];
  const up = ((m[3] * x + m[4] * y + m[5] * z) * scale[1]) / w + shift[1];
  return [((across + 1) / 2) * width, ((1 - up) / 2) * height, depth];
}
