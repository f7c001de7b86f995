/*
 * The pyconfig.h of the wheels' builds, for every target: what Python.h asks about the machine that is built for.
 *
 * The one of the Python that builds would say what is true of the host (a long of 8 bytes), and Debian's looks for that
 * of another machine. With the limited API only sizes matter, and those the compiler knows. Each is proven against
 * sizeof below; a question of a future Python.h that has no answer here ends the build.
 */
#ifndef Py_PYCONFIG_H
#define Py_PYCONFIG_H

#define SIZEOF_SHORT __SIZEOF_SHORT__
#define SIZEOF_INT __SIZEOF_INT__
#define SIZEOF_LONG __SIZEOF_LONG__
#define SIZEOF_LONG_LONG __SIZEOF_LONG_LONG__
#define SIZEOF_FLOAT __SIZEOF_FLOAT__
#define SIZEOF_DOUBLE __SIZEOF_DOUBLE__
#define SIZEOF_SIZE_T __SIZEOF_SIZE_T__
#define SIZEOF_VOID_P __SIZEOF_POINTER__
#define SIZEOF_UINTPTR_T __SIZEOF_POINTER__
#define SIZEOF_WCHAR_T __SIZEOF_WCHAR_T__

/* glibc has these wherever it runs. */
#define HAVE_SSIZE_T 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_SELECT_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_STDDEF_H 1
#define HAVE_UNISTD_H 1
#define HAVE_WCHAR_H 1
#define HAVE_PTHREAD_H 1
#define STDC_HEADERS 1
#define WITH_THREAD 1

/* As every pyconfig.h of Linux says: cffi's code counts on it (alloca). */
#define _GNU_SOURCE 1

#include <stddef.h>
#include <stdint.h>
#include <wchar.h>

_Static_assert(SIZEOF_SHORT == sizeof(short), "short");
_Static_assert(SIZEOF_INT == sizeof(int), "int");
_Static_assert(SIZEOF_LONG == sizeof(long), "long");
_Static_assert(SIZEOF_LONG_LONG == sizeof(long long), "long long");
_Static_assert(SIZEOF_FLOAT == sizeof(float), "float");
_Static_assert(SIZEOF_DOUBLE == sizeof(double), "double");
_Static_assert(SIZEOF_SIZE_T == sizeof(size_t), "size_t");
_Static_assert(SIZEOF_VOID_P == sizeof(void *), "pointer");
_Static_assert(SIZEOF_UINTPTR_T == sizeof(uintptr_t), "uintptr_t");
_Static_assert(SIZEOF_WCHAR_T == sizeof(wchar_t), "wchar_t");

#endif
