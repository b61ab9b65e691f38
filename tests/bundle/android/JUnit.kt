// Stands in for JUnit 4.
package org.junit

annotation class Test

class AssumptionViolatedException(message: String?) : RuntimeException(message)

object Assert {
    fun assertTrue(message: String?, condition: Boolean) {
        if (!condition) throw AssertionError(message)
    }
}

object Assume {
    fun assumeTrue(message: String?, condition: Boolean) {
        if (!condition) throw AssumptionViolatedException(message)
    }
}
