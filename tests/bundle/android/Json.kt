// Stands in for org.json as far as the generated test uses it.
package org.json

class JSONObject internal constructor(private val values: Map<*, *>) {
    constructor(json: String) : this(Reader(json).value() as Map<*, *>)

    fun getString(name: String): String = values.getValue(name).toString()

    fun getInt(name: String): Int = getDouble(name).toInt()

    fun getDouble(name: String): Double = values.getValue(name) as Double

    fun getJSONArray(name: String) = JSONArray(values.getValue(name) as List<*>)

    private fun Map<*, *>.getValue(name: String): Any =
        checkNotNull(this[name]) { "No value for $name" }
}

class JSONArray internal constructor(private val values: List<*>) {
    fun length(): Int = values.size

    fun getJSONObject(index: Int) = JSONObject(values[index] as Map<*, *>)
}

private class Reader(private val text: String) {
    private var at = 0

    fun value(): Any? {
        val first = next()
        return when {
            first == '{' -> members('}') { (value() as String).also { check(next() == ':') } to value() }.toMap()
            first == '[' -> members(']') { value() }
            first == '"' -> string()
            else -> word(first)
        }
    }

    private fun next(): Char {
        while (text[at].isWhitespace()) at++
        return text[at++]
    }

    private fun <T> members(end: Char, member: () -> T): List<T> {
        val all = mutableListOf<T>()
        while (next() != end) {
            if (text[at - 1] != ',') at--
            all += member()
        }
        return all
    }

    private fun string(): String = buildString {
        while (true) {
            val one = text[at++]
            when {
                one == '"' -> return@buildString
                one != '\\' -> append(one)
                text[at] == 'u' -> append(text.substring(at + 1, at + 5).toInt(16).toChar()).also { at += 5 }
                else -> append(mapOf('n' to '\n', 't' to '\t', 'r' to '\r')[text[at]] ?: text[at]).also { at++ }
            }
        }
    }

    private fun word(first: Char): Any? {
        val start = at - 1
        while (at < text.length && text[at] !in ",]} \n") at++
        return when (first) {
            'n' -> null
            't', 'f' -> first == 't'
            else -> text.substring(start, at).toDouble()
        }
    }
}
