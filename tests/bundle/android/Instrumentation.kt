// Stands in for androidx.test: a folder for the app's assets.
package androidx.test.platform.app

import java.io.File
import java.io.InputStream

object InstrumentationRegistry {
    lateinit var folder: File

    fun getInstrumentation() = Instrumentation()
}

class Instrumentation {
    val context = Context()
}

class Context {
    val assets = AssetManager()
}

class AssetManager {
    fun open(fileName: String): InputStream = InstrumentationRegistry.folder.resolve(fileName).inputStream()
}
