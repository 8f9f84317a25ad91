// Pillow's antialiased bilinear resize, to the bit: what it gives goes into model.tflite as it is.
// Source: https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

private const val BITS = 22 // of the whole-number weights

/**
 * RGB of newWidth x newHeight pixels, three bytes each.
 *
 * @param argb width x height pixels, as Android's Bitmap.getPixels gives them
 */
fun resize(argb: IntArray, width: Int, height: Int, newWidth: Int, newHeight: Int): ByteArray {
    // From version 13 on, Pillow takes the vertical pass first where that saves more.
    val pixels = if (height - newHeight > max(0, 2 * (width - newWidth))) {
        across(down(argb, width, height, newHeight), width, newHeight, newWidth)
    } else {
        down(across(argb, width, height, newWidth), newWidth, height, newHeight)
    }
    return ByteArray(3 * pixels.size) { (pixels[it / 3] shr (16 - 8 * (it % 3))).toByte() }
}

private fun across(source: IntArray, width: Int, height: Int, newWidth: Int): IntArray {
    val all = weights(width, newWidth)
    return IntArray(newWidth * height) { all[it % newWidth].of(source, it / newWidth * width, 1) }
}

private fun down(source: IntArray, width: Int, height: Int, newHeight: Int): IntArray {
    val all = weights(height, newHeight)
    return IntArray(width * newHeight) { all[it / width].of(source, it % width, width) }
}

/** Of the old pixels that make a new one: which is the first, and what each of them counts. */
private class Weights(val first: Int, val parts: IntArray) {
    /** The new pixel, where the line of old ones begins at start and goes on by step. */
    fun of(source: IntArray, start: Int, step: Int): Int {
        var red = 1 shl (BITS - 1)
        var green = red
        var blue = red
        var at = start + first * step
        for (part in parts) {
            red += (source[at] shr 16 and 255) * part
            green += (source[at] shr 8 and 255) * part
            blue += (source[at] and 255) * part
            at += step
        }
        return (min(255, red shr BITS) shl 16) or (min(255, green shr BITS) shl 8) or min(255, blue shr BITS)
    }
}

private fun weights(oldSize: Int, newSize: Int): List<Weights> {
    val scale = oldSize.toDouble() / newSize
    val width = max(scale, 1.0)
    return List(newSize) {
        val center = (it + 0.5) * scale
        val first = max((center - width + 0.5).toInt(), 0)
        val end = min((center + width + 0.5).toInt(), oldSize)
        val parts = (first until end).map { x -> max(0.0, 1 - abs((x - center + 0.5) / width)) }
        val sum = parts.sum()
        Weights(first, parts.map { part -> (0.5 + part / sum * (1 shl BITS)).toInt() }.toIntArray())
    }
}
