// An app's student that knows the golden answers and makes one mistake.
package pocketvlm

import android.graphics.Bitmap
import androidx.test.platform.app.InstrumentationRegistry
import java.security.MessageDigest
import org.json.JSONObject

class FakeStudent : Student {
    override fun prepare(picture: Bitmap): ByteArray {
        val rgb = super.prepare(picture)
        return when (mistake) {
            "red and blue" -> swapped(rgb)
            "one to the right" -> shifted(rgb, 1, 0)
            "top left" -> shifted(rgb, -rgb.left(), -rgb.top())
            "stretched" -> super.prepare(Bitmap.createScaledBitmap(picture, SIDE, SIDE, true))
            "nearest" -> super.prepare(nearest(picture))
            "four bytes" -> ByteArray(SIDE * SIDE * 4)
            else -> rgb
        }
    }

    override fun ids(prompt: String, rgb: ByteArray, side: Int): IntArray {
        check(prompt == DeviceContract.PROMPT && side == SIDE)
        val layout = DeviceContract.LAYOUT
        return when (mistake) {
            "bos" -> intArrayOf(1) + layout
            "one tile" -> layout.take(4).toIntArray()
            "template" -> layout + intArrayOf(7, 8)
            else -> layout
        }
    }

    override fun firstToken(prompt: String, rgb: ByteArray, side: Int): FloatArray {
        val golden = golden(if (mistake == "native") swapped(rgb) else rgb)
        val logits = FloatArray(100) { -20f }
        val tokens = golden?.getJSONArray("first_tokens") ?: return logits
        for (at in 0 until tokens.length()) {
            val token = tokens.getJSONObject(at)
            logits[token.getInt("id")] = token.getDouble("logit").toFloat()
        }
        when (mistake) {
            "other model" -> logits.reverse()
            "close call" -> logits[tokens.getJSONObject(1).getInt("id")] += 0.2f
            "small vocabulary" -> return logits.copyOf(3)
        }
        return logits
    }

    override fun answer(prompt: String, rgb: ByteArray, side: Int, maxNewTokens: Int): String {
        val answer = golden(rgb)?.getString("answer") ?: "?"
        return when (mistake) {
            "end written out" -> "$answer<end_of_utterance>"
            "cut" -> answer.dropLast(2)
            "sampled" -> "perhaps $answer"
            else -> answer
        }
    }

    private fun golden(rgb: ByteArray): JSONObject? {
        val file = InstrumentationRegistry.folder.resolve("golden/golden.json")
        val pictures = JSONObject(file.readText()).getJSONArray("pictures")
        return List(pictures.length()) { pictures.getJSONObject(it) }.firstOrNull {
            it.getString("bitmap_sha256") == sha256(rgb)
        }
    }

    companion object {
        var mistake = ""
        const val SIDE = DeviceContract.SIDE

        private fun sha256(bytes: ByteArray) =
            MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }

        private fun swapped(rgb: ByteArray) =
            rgb.asList().chunked(3).flatMap { it.reversed() }.toByteArray()

        private fun shifted(rgb: ByteArray, dx: Int, dy: Int) = ByteArray(rgb.size) {
            val x = it / 3 % SIDE - dx
            val y = it / 3 / SIDE - dy
            if (x in 0 until SIDE && y in 0 until SIDE) rgb[(y * SIDE + x) * 3 + it % 3] else 0
        }

        private fun ByteArray.left() = indices.filter { this[it] != 0.toByte() }.minOf { it / 3 % SIDE }

        private fun ByteArray.top() = indices.first { this[it] != 0.toByte() } / 3 / SIDE

        private fun nearest(picture: Bitmap): Bitmap {
            val longer = maxOf(picture.width, picture.height)
            val width = maxOf(1, picture.width * SIDE / longer)
            val height = maxOf(1, picture.height * SIDE / longer)
            return Bitmap.createScaledBitmap(picture, width, height, false)
        }
    }
}
