// Runs the generated code for the tests: one start of the program for all pictures.
import android.graphics.Bitmap
import androidx.test.platform.app.InstrumentationRegistry
import java.io.DataInputStream
import java.io.File
import org.junit.AssumptionViolatedException
import pocketvlm.DeviceContract
import pocketvlm.FakeStudent
import pocketvlm.GoldenPicturesTest

val CONTRACTS = mapOf<String, (IntArray, Int, Int) -> ByteArray>(
    "bilinear" to DeviceContract::bitmap,
    "lanczos" to lanczos.DeviceContract::bitmap,
    "area" to area.DeviceContract::bitmap,
)

/** Confidences, sure and label of each contract; the three are calibrated differently. */
class Sureness(
    val confidences: (DoubleArray) -> DoubleArray,
    val sure: (DoubleArray) -> Boolean,
    val label: (DoubleArray) -> String?,
)

val SURENESS = with(DeviceContract) {
    mapOf(
        "pocketvlm" to Sureness(::confidences, ::sure, ::label),
        "lanczos" to lanczos.DeviceContract.run { Sureness(::confidences, ::sure, ::label) },
        "area" to area.DeviceContract.run { Sureness(::confidences, ::sure, ::label) },
    )
}

fun main(args: Array<String>) {
    val folder = File(args[1])
    when (args[0]) {
        "bitmaps" -> bitmaps(folder)
        "constants" -> constants(folder)
        "sureness" -> sureness(folder)
        "golden" -> golden(folder, args.drop(2))
    }
}

/** Every FILE.argb (width, height, pixels: big-endian words) under each contract. */
private fun bitmaps(folder: File) {
    for (file in folder.walk().filter { it.extension == "argb" }) {
        DataInputStream(file.inputStream().buffered()).use { input ->
            val width = input.readInt()
            val height = input.readInt()
            val pixels = IntArray(width * height) { input.readInt() }
            for ((name, bitmap) in CONTRACTS) {
                folder.resolve("${file.nameWithoutExtension}.$name").writeBytes(bitmap(pixels, width, height))
            }
        }
    }
}

/** Values of constants and labels, each ended by a zero. */
private fun constants(folder: File) {
    val told = with(DeviceContract) {
        listOf(SIDE, EXIF, PROMPT, MARKER, TILES, MAX_NEW_TOKENS, END_TOKEN_ID, IMAGE_TOKEN_ID) +
            listOf(MODEL, MMPROJ, HASH, LAYOUT.joinToString(" "), GRAMMAR, TEMPERATURE) +
            listOf(UNSURE_BELOW, lanczos.DeviceContract.UNSURE_BELOW, area.DeviceContract.UNSURE_BELOW) +
            LABELS + ANSWERS
    }
    folder.resolve("constants").writeText(told.joinToString("") { "$it\u0000" })
    val label = DeviceContract.LABELS[0]
    val stripped = ('\u0000'..'\uFFFF').filter { DeviceContract.label("$it$label$it") == label }
    folder.resolve("stripped").writeText(stripped.joinToString(" ") { it.code.toString() })
    val others = listOf("", label.uppercase(), "$label.", "$label $label", label.drop(1))
    folder.resolve("others").writeText(others.joinToString(" ") { DeviceContract.label(it).toString() })
}

/** Each line of `likelihoods` under each contract: confidences, sure, label, ended by a zero. */
private fun sureness(folder: File) {
    val lines = folder.resolve("likelihoods").readLines()
    for ((name, contract) in SURENESS) {
        val told = lines.joinToString("\u0000") { line ->
            val likelihoods = line.split(" ").map { it.toDouble() }.toDoubleArray()
            val confidences = contract.confidences(likelihoods)
            val rest = listOf(contract.sure(confidences), contract.label(likelihoods))
            (confidences.asList() + rest).joinToString("\n")
        }
        folder.resolve(name).writeText(told)
    }
}

/** The app's test under each mistake: MISTAKE.txt holds what it says. */
private fun golden(folder: File, mistakes: List<String>) {
    InstrumentationRegistry.folder = folder
    for (mistake in mistakes) {
        FakeStudent.mistake = mistake
        Bitmap.error = if (mistake == "another device") 2 else 0
        val test = GoldenPicturesTest()
        val said = try {
            if (mistake.endsWith("device")) test.createScaledBitmapIsWithinOneOfTheContract()
            else test.everyGoldenPictureIsSeenAndAnsweredAsMeasured()
            "passed"
        } catch (skipped: AssumptionViolatedException) {
            "skipped: ${skipped.message}"
        } catch (failed: Throwable) {
            failed.message!!
        }
        folder.resolve("$mistake.txt").writeText(said)
    }
}
