/*
 * Files that fail, and a diary of what was written when: for tests, loaded with LD_PRELOAD.
 *
 *   cc -std=c11 -O1 -shared -fPIC -Wall -Wextra -Werror failing_io.c -o failing_io.so -ldl -pthread
 *
 * A test in the same process calls the failing_io_... functions (ctypes.CDLL(None)).
 *
 * Faults: from the nth call on (or only that one) that changes a file below a folder, calls fail with an errno; or the
 * process is killed there (errno 0).
 * Diary: every change below a folder goes to a file, in order, with fsyncs and with marks that the test sets; another
 * program makes of it what a disk may hold if the power goes at any point. Format: see `record`. Writes through mmap
 * are not seen: of SQLite's files only the -shm is written so, and it is worth nothing after a restart.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE = 2, SYNC = 4, TRUNCATE = 8, REMOVE = 16, RENAME = 32, MKDIR = 64, MARK = 128, LINK = 256 };
enum { MAX_FD = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool watched[MAX_FD]; /* the descriptor has a path */

static struct {
    bool armed, only_once, half; /* half: the failing write has written half of its bytes before (a disk that fills) */
    char below[PATH_MAX];
    unsigned calls;
    long nth, seen, failed;
    int error;
} fault;

static struct {
    int fd;
    char below[PATH_MAX];
} diary = {.fd = -1};

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return n && !strncmp(path, folder, n) && (path[n] == '/' || !path[n]);
}

/* The path as it is in the file system; the last part need not exist. */
static bool resolve(const char *path, char *out)
{
    char folder[PATH_MAX];
    const char *name = strrchr(path, '/');
    size_t n = name ? (size_t)(name - path) : 0;
    if (strlen(path) >= PATH_MAX)
        return false;
    if (!name) {
        strcpy(folder, ".");
    } else if (!n) {
        strcpy(folder, "/");
    } else {
        memcpy(folder, path, n);
        folder[n] = 0;
    }
    name = name ? name + 1 : path;
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return realpath(path, out) != NULL;
    if (!realpath(folder, out) || strlen(out) + strlen(name) + 2 > PATH_MAX)
        return false;
    strcat(strcmp(out, "/") ? strcat(out, "/") : out, name);
    return true;
}

static bool resolve_at(int folder, const char *path, char *out)
{
    char joined[PATH_MAX], link[64];
    ssize_t n;
    if (*path == '/' || folder == AT_FDCWD)
        return resolve(path, out);
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    n = readlink(link, joined, sizeof joined - 1);
    if (n < 0 || (size_t)n + strlen(path) + 2 > sizeof joined)
        return false;
    joined[n] = '/';
    strcpy(joined + n + 1, path);
    return resolve(joined, out);
}

static bool path_of(int fd, char *out)
{
    char link[64];
    ssize_t n;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, out, PATH_MAX - 1);
    if (n < 0)
        return false;
    out[n] = 0;
    return true;
}

/* A record of the diary: 32 bytes (kind, inode, offset or mark, length of what follows), then that. Native byte order. */
static void record(uint64_t kind, uint64_t inode, int64_t at, const void *data, size_t size)
{
    uint64_t head[4] = {kind, inode, (uint64_t)at, size};
    const uint8_t *parts[2] = {(const uint8_t *)head, data};
    size_t sizes[2] = {sizeof head, size};
    for (int i = 0; i < 2; i++)
        for (size_t done = 0; done < sizes[i];) {
            ssize_t n = REAL(write)(diary.fd, parts[i] + done, sizes[i] - done);
            if (n <= 0)
                abort(); /* a diary with a hole would be a lie */
            done += (size_t)n;
        }
}

static uint64_t inode_of(int fd)
{
    struct stat s;
    return fstat(fd, &s) ? 0 : (uint64_t)s.st_ino;
}

static bool diary_wants(const char *path)
{
    return diary.fd >= 0 && is_below(path, diary.below);
}

/* Whether this call fails now. Called with the lock held. */
static bool fails(unsigned call, const char *path)
{
    if (!fault.armed || !(fault.calls & call) || !is_below(path, fault.below))
        return false;
    fault.seen++;
    if (fault.seen < fault.nth || (fault.only_once && fault.seen > fault.nth))
        return false;
    fault.failed++;
    if (!fault.error && !(call == WRITE && fault.half))
        kill(getpid(), SIGKILL);
    return true;
}

static bool fails_fd(unsigned call, int fd)
{
    char path[PATH_MAX];
    return fault.armed && path_of(fd, path) && fails(call, path);
}

/* For the tests --------------------------------------------------------------------------------------------------- */

/* Calls of the kinds in `calls` below `folder` fail with `error` from the nth (1, 2, ...) on, or only the nth. */
void failing_io_arm(const char *folder, unsigned calls, long nth, int error, int only_once, int half)
{
    pthread_mutex_lock(&lock);
    fault.armed = true;
    fault.only_once = only_once != 0;
    fault.half = half != 0;
    fault.calls = calls;
    fault.nth = nth;
    fault.error = error;
    fault.seen = fault.failed = 0;
    if (!resolve(folder, fault.below))
        fault.armed = false;
    pthread_mutex_unlock(&lock);
}

/* Calls work again. Returns how many there were of those kinds; `failed`, if not NULL, how many of them failed. */
long failing_io_disarm(long *failed)
{
    pthread_mutex_lock(&lock);
    fault.armed = false;
    if (failed)
        *failed = fault.failed;
    pthread_mutex_unlock(&lock);
    return fault.seen;
}

/* Keep a diary of what changes below `folder`. */
int failing_io_record(const char *folder, const char *file)
{
    int fd = REAL(open)(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pthread_mutex_lock(&lock);
    diary.fd = resolve(folder, diary.below) ? fd : -1;
    pthread_mutex_unlock(&lock);
    return diary.fd >= 0 ? 0 : -1;
}

/* Note in the diary that the test has come to point `number`. */
void failing_io_mark(int64_t number)
{
    pthread_mutex_lock(&lock);
    if (diary.fd >= 0)
        record(MARK, 0, number, NULL, 0);
    pthread_mutex_unlock(&lock);
}

/* What the C library has -------------------------------------------------------------------------------------------- */

typedef int opener(int, const char *, int, ...);

static int open_any(opener *next, int folder, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    struct stat before;
    bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    bool known = resolve_at(folder, path, full), fresh, cut;
    int fd;

    pthread_mutex_lock(&lock);
    if (known && writes && fails(OPEN, full)) {
        pthread_mutex_unlock(&lock);
        errno = fault.error;
        return -1;
    }
    fresh = known && (flags & O_CREAT) && lstat(full, &before);
    cut = known && !fresh && (flags & O_TRUNC);
    fd = next(folder, path, flags, mode);
    if (fd >= 0 && fd < MAX_FD) {
        watched[fd] = known;
        if (known && diary_wants(full)) {
            if (fresh)
                record(OPEN, inode_of(fd), 0, full, strlen(full));
            if (cut)
                record(TRUNCATE, inode_of(fd), 0, NULL, 0);
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(arguments, unsigned) : 0;
}

#define OPENER(name, next)                                          \
    int name(const char *path, int flags, ...)                      \
    {                                                               \
        va_list arguments;                                          \
        mode_t mode;                                                \
        va_start(arguments, flags);                                 \
        mode = mode_of(flags, arguments);                           \
        va_end(arguments);                                          \
        return open_any(REAL(next), AT_FDCWD, path, flags, mode);   \
    }
#define OPENER_AT(name)                                             \
    int name(int folder, const char *path, int flags, ...)          \
    {                                                               \
        va_list arguments;                                          \
        mode_t mode;                                                \
        va_start(arguments, flags);                                 \
        mode = mode_of(flags, arguments);                           \
        va_end(arguments);                                          \
        return open_any(REAL(name), folder, path, flags, mode);     \
    }
OPENER(open, openat)
OPENER(open64, openat64)
OPENER_AT(openat)
OPENER_AT(openat64)

int close(int fd)
{
    if (fd >= 0 && fd < MAX_FD)
        watched[fd] = false;
    return REAL(close)(fd);
}

static bool is_watched(int fd)
{
    return fd >= 0 && fd < MAX_FD && watched[fd] && (fault.armed || diary.fd >= 0);
}

/* A write at `at`, or where the descriptor stands (-1). */
static ssize_t write_any(int fd, const void *data, size_t size, off64_t at)
{
    char path[PATH_MAX];
    struct stat s;
    off64_t where = at;
    ssize_t done;
    bool halved = false;

    pthread_mutex_lock(&lock);
    if (fails_fd(WRITE, fd)) {
        if (!fault.half || (fault.error && (size < 2 || fault.failed > 1))) {
            pthread_mutex_unlock(&lock);
            errno = fault.error;
            return -1;
        }
        halved = true;
        size /= 2;
    }
    if (at < 0)
        where = fcntl(fd, F_GETFL) & O_APPEND && !fstat(fd, &s) ? s.st_size : lseek64(fd, 0, SEEK_CUR);
    done = at < 0 ? REAL(write)(fd, data, size) : REAL(pwrite64)(fd, data, size, at);
    if (halved && !fault.error)
        kill(getpid(), SIGKILL);
    if (done > 0 && path_of(fd, path) && diary_wants(path))
        record(WRITE, inode_of(fd), where, data, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    return is_watched(fd) ? write_any(fd, data, size, -1) : REAL(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return is_watched(fd) ? write_any(fd, data, size, at) : REAL(pwrite)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return is_watched(fd) ? write_any(fd, data, size, at) : REAL(pwrite64)(fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    /* A short write is a write: the caller goes on with the rest. */
    return is_watched(fd) && count > 0 ? write_any(fd, parts[0].iov_base, parts[0].iov_len, -1)
                                       : REAL(writev)(fd, parts, count);
}

#define SYNCER(name)                                                \
    int name(int fd)                                                \
    {                                                               \
        char path[PATH_MAX];                                        \
        int status;                                                 \
        if (!is_watched(fd))                                        \
            return REAL(name)(fd);                                  \
        pthread_mutex_lock(&lock);                                  \
        if (fails_fd(SYNC, fd)) {                                   \
            pthread_mutex_unlock(&lock);                            \
            errno = fault.error;                                    \
            return -1;                                              \
        }                                                           \
        status = REAL(name)(fd);                                    \
        if (!status && path_of(fd, path) && diary_wants(path))      \
            record(SYNC, inode_of(fd), 0, path, strlen(path));      \
        pthread_mutex_unlock(&lock);                                \
        return status;                                              \
    }
SYNCER(fsync)
SYNCER(fdatasync)

#define TRUNCATER(name, offset)                                     \
    int name(int fd, offset size)                                   \
    {                                                               \
        char path[PATH_MAX];                                        \
        int status;                                                 \
        if (!is_watched(fd))                                        \
            return REAL(name)(fd, size);                            \
        pthread_mutex_lock(&lock);                                  \
        if (fails_fd(TRUNCATE, fd)) {                               \
            pthread_mutex_unlock(&lock);                            \
            errno = fault.error;                                    \
            return -1;                                              \
        }                                                           \
        status = REAL(name)(fd, size);                              \
        if (!status && path_of(fd, path) && diary_wants(path))      \
            record(TRUNCATE, inode_of(fd), size, NULL, 0);          \
        pthread_mutex_unlock(&lock);                                \
        return status;                                              \
    }
TRUNCATER(ftruncate, off_t)
TRUNCATER(ftruncate64, off64_t)

/* unlink, rmdir */
static int remove_any(const char *full, bool known, int (*next)(int, const char *, int), int folder, const char *path,
                      int flags)
{
    int status;
    pthread_mutex_lock(&lock);
    if (known && fails(REMOVE, full)) {
        pthread_mutex_unlock(&lock);
        errno = fault.error;
        return -1;
    }
    status = next(folder, path, flags);
    if (!status && known && diary_wants(full))
        record(REMOVE, 0, 0, full, strlen(full));
    pthread_mutex_unlock(&lock);
    return status;
}

int unlinkat(int folder, const char *path, int flags)
{
    char full[PATH_MAX];
    bool known = resolve_at(folder, path, full);
    return remove_any(full, known, REAL(unlinkat), folder, path, flags);
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    char both[2 * PATH_MAX], target[PATH_MAX];
    bool known = resolve_at(from_folder, from, both) && resolve_at(to_folder, to, target);
    int status;
    pthread_mutex_lock(&lock);
    if (known && fails(RENAME, target)) {
        pthread_mutex_unlock(&lock);
        errno = fault.error;
        return -1;
    }
    status = REAL(renameat)(from_folder, from, to_folder, to);
    if (!status && known && (diary_wants(both) || diary_wants(target))) {
        size_t n = strlen(both) + 1;
        strcpy(both + n, target);
        record(RENAME, 0, 0, both, n + strlen(target));
    }
    pthread_mutex_unlock(&lock);
    return status;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int link(const char *from, const char *to)
{
    char both[2 * PATH_MAX], target[PATH_MAX];
    bool known = resolve(from, both) && resolve(to, target);
    int status;
    pthread_mutex_lock(&lock);
    if (known && fails(OPEN, target)) {
        pthread_mutex_unlock(&lock);
        errno = fault.error;
        return -1;
    }
    status = REAL(link)(from, to);
    if (!status && known && diary_wants(target)) {
        struct stat s;
        record(LINK, stat(to, &s) ? 0 : (uint64_t)s.st_ino, 0, target, strlen(target));
    }
    pthread_mutex_unlock(&lock);
    return status;
}

int mkdir(const char *path, mode_t mode)
{
    char full[PATH_MAX];
    bool known = resolve(path, full);
    int status;
    pthread_mutex_lock(&lock);
    if (known && fails(MKDIR, full)) {
        pthread_mutex_unlock(&lock);
        errno = fault.error;
        return -1;
    }
    status = REAL(mkdir)(path, mode);
    if (!status && known && diary_wants(full))
        record(MKDIR, 0, 0, full, strlen(full));
    pthread_mutex_unlock(&lock);
    return status;
}
