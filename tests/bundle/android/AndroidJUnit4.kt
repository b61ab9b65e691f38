// Stands in for androidx.test.
package androidx.test.ext.junit.runners

class AndroidJUnit4
