// Stands in for android.graphics as far as the generated test uses it.
package android.graphics

import java.awt.color.ColorSpace
import java.io.InputStream
import javax.imageio.ImageIO

class Bitmap(val width: Int, val height: Int, private val pixels: IntArray) {
    fun getPixels(
        pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int,
    ) {
        require(listOf(offset, stride, x, y, width, height) == listOf(0, width, 0, 0, this.width, this.height))
        this.pixels.copyInto(pixels)
    }

    companion object {
        /** How far createScaledBitmap is off: a device's own rounding, or another filter. */
        var error = 0

        fun createScaledBitmap(src: Bitmap, dstWidth: Int, dstHeight: Int, filter: Boolean): Bitmap {
            val scaled = IntArray(dstWidth * dstHeight) {
                val x = (it % dstWidth + 0.5f) * src.width / dstWidth
                val y = (it / dstWidth + 0.5f) * src.height / dstHeight
                if (filter) src.between(x - 0.5f, y - 0.5f) else src.at(x.toInt(), y.toInt())
            }
            return Bitmap(dstWidth, dstHeight, scaled)
        }
    }

    private fun at(x: Int, y: Int) =
        pixels[y.coerceIn(0, height - 1) * width + x.coerceIn(0, width - 1)]

    /** Skia works on premultiplied pixels; here the pictures that are scaled are opaque. */
    private fun between(x: Float, y: Float): Int {
        val left = Math.floor(x.toDouble()).toInt()
        val top = Math.floor(y.toDouble()).toInt()
        var mixed = 0xFF shl 24
        for (shift in listOf(16, 8, 0)) {
            fun row(y: Int): Float {
                val first = at(left, y) ushr shift and 0xFF
                return first + ((at(left + 1, y) ushr shift and 0xFF) - first) * (x - left)
            }
            val value = Math.round(row(top) + (row(top + 1) - row(top)) * (y - top)) + error
            mixed = mixed or (value.coerceIn(0, 255) shl shift)
        }
        return mixed
    }
}

object BitmapFactory {
    class Options {
        var inScaled = true
        var inPremultiplied = true
    }

    fun decodeStream(stream: InputStream, outPadding: Nothing?, opts: Options): Bitmap? {
        require(!opts.inScaled) { "a device's density would scale the picture" }
        val image = ImageIO.read(stream) ?: return null
        val pixels = IntArray(image.width * image.height) {
            val x = it % image.width
            val y = it / image.width
            // getRGB would brighten grey: Java takes it for linear light.
            val grey = image.colorModel.colorSpace.type == ColorSpace.TYPE_GRAY
            if (grey) image.raster.getSample(x, y, 0) * 0x010101 or (0xFF shl 24) else image.getRGB(x, y)
        }
        if (opts.inPremultiplied) for (at in pixels.indices) pixels[at] = premultiplied(pixels[at])
        return Bitmap(image.width, image.height, pixels)
    }

    /** What getPixels still tells of a premultiplied pixel. */
    private fun premultiplied(pixel: Int): Int {
        val alpha = pixel ushr 24
        var back = alpha shl 24
        if (alpha > 0) for (shift in listOf(16, 8, 0)) {
            val stored = ((pixel ushr shift and 0xFF) * alpha + 127) / 255
            back = back or (minOf(255, (stored * 255 + alpha / 2) / alpha) shl shift)
        }
        return back
    }
}
