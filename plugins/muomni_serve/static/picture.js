// Pictures: made smaller before they are sent, taken with the camera, or drawn as an example.

const LARGEST = 1024; // pixels of a side

/** A picture as a PNG file of at most 1024 x 1024 pixels. Fails if the browser cannot read it. */
export async function prepared(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return png(canvas);
}

function png(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/png");
  });
}

/** The camera, from start() to stop(). */
export class Camera {
  static get possible() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  async start(video) {
    this.video = video;
    this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    video.srcObject = this.stream;
    await video.play();
  }

  shoot() {
    const canvas = document.createElement("canvas");
    canvas.width = this.video.videoWidth;
    canvas.height = this.video.videoHeight;
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    return png(canvas);
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    if (this.video) this.video.srcObject = null;
  }
}

/** A star above a square: shapes as the model that ships with muomni knows them. */
export function example() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 256;
  const paint = canvas.getContext("2d");
  paint.fillStyle = "#b9c3aa";
  paint.fillRect(0, 0, 256, 256);
  paint.fillStyle = "#f0d228";
  paint.beginPath();
  for (let i = 0; i < 10; i++) {
    const [radius, angle] = [i % 2 ? 24 : 60, (i * Math.PI) / 5 - Math.PI / 2];
    paint.lineTo(128 + radius * Math.cos(angle), 72 + radius * Math.sin(angle));
  }
  paint.fill();
  paint.fillStyle = "#3250dc";
  paint.fillRect(82, 150, 92, 92);
  return png(canvas);
}
