/** Pictures of files, of the clipboard and of other pages as pixels. */
import { RequestError } from "../errors.js";
import type { Pixels } from "../image.js";
import { decodePng, isPng } from "../png.js";

/** RequestError: the file is not a picture that the browser can read. */
export async function decodePicture(file: Blob): Promise<Pixels> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isPng(bytes)) {
    try {
      return await decodePng(bytes); // exactly the file's own numbers, without color management
    } catch {
      // interlaced, for example
    }
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    throw new RequestError("the picture cannot be read", "give a PNG, JPEG, WebP or GIF file");
  }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  const { width, height, data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return { width, height, data };
}
