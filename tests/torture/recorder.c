/* Records what a process does to the files below one folder: writes, truncations, names and syncs.
 *
 * Loaded with LD_PRELOAD. RELAY_RECORD names the journal, which is appended to; RELAY_RECORD_UNDER
 * the folder. Each entry is a line, "KIND OFFSET LENGTH PATH\n" (a rename has "FROM\tTO" for a path),
 * followed by LENGTH bytes. An operation and its entry are one under a lock, so that the order of
 * the journal is the order of what happened, and the entry of a sync stands in the journal before
 * whoever asked for it goes on. sync_file_range is left alone: it promises nothing about a power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char under[4096];
static size_t under_length;

static void start(void) {
    if (journal != -1) return;
    const char *path = getenv("RELAY_RECORD"), *folder = getenv("RELAY_RECORD_UNDER");
    if (!path || !folder) { journal = -2; return; }
    snprintf(under, sizeof under, "%s", folder);
    under_length = strlen(under);
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0) { journal = -2; }
}

static int watched(const char *path) {
    return journal >= 0 && strncmp(path, under, under_length) == 0
        && (path[under_length] == '/' || path[under_length] == 0);
}

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return watched(path);
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t done = syscall(SYS_write, journal, at, length);
        if (done < 0) { if (errno == EINTR) continue; abort(); }
        at += done; length -= (size_t)done;
    }
}

static void entry(char kind, long long offset, const void *bytes, size_t length, const char *path) {
    int before = errno;
    char line[9000];
    int size = snprintf(line, sizeof line, "%c %lld %zu %s\n", kind, offset, length, path);
    put(line, (size_t)size);
    if (length) put(bytes, length);
    errno = before;
}

#define REAL(name) \
    static __typeof__(&name) real = 0; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define ENTER pthread_mutex_lock(&lock); start()
#define LEAVE pthread_mutex_unlock(&lock)

static ssize_t positioned(int fd, const void *bytes, ssize_t done, long long offset) {
    char path[4096];
    if (done > 0 && path_of(fd, path, sizeof path)) entry('W', offset, bytes, (size_t)done, path);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write);
    ENTER;
    char path[4096];
    long long offset = -1;
    if (journal >= 0 && path_of(fd, path, sizeof path))
        offset = (fcntl(fd, F_GETFL) & O_APPEND) ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    ssize_t done = real(fd, bytes, length);
    if (offset >= 0) positioned(fd, bytes, done, offset);
    LEAVE;
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    REAL(pwrite64);
    ENTER;
    ssize_t done = positioned(fd, bytes, real(fd, bytes, length, offset), offset);
    LEAVE;
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t all = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return all ? all : done;
        all += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return all;
}

#define SYNC(name) \
    int name(int fd) { \
        REAL(name); \
        ENTER; \
        int done = real(fd); \
        char path[4096]; \
        if (done == 0 && path_of(fd, path, sizeof path)) entry('S', 0, 0, 0, path); \
        LEAVE; \
        return done; \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, type) \
    int name(int fd, type length) { \
        REAL(name); \
        ENTER; \
        int done = real(fd, length); \
        char path[4096]; \
        if (done == 0 && path_of(fd, path, sizeof path)) entry('T', length, 0, 0, path); \
        LEAVE; \
        return done; \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

static int opened(int fd, int flags, int existed, long long size) {
    char path[4096];
    int before = errno;
    if (fd >= 0 && path_of(fd, path, sizeof path)) {
        if (!existed) entry('C', 0, 0, 0, path);
        else if ((flags & O_TRUNC) && size > 0) entry('T', 0, 0, 0, path);
    }
    errno = before;
    return fd;
}

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        ENTER; \
        struct stat64 stat; \
        int before = errno, existed = fstatat64(folder, path, &stat, 0) == 0; \
        errno = before; \
        int fd = opened(real(folder, path, flags, mode), flags, existed, existed ? stat.st_size : 0); \
        LEAVE; \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        ENTER; \
        struct stat64 stat; \
        int before = errno, existed = stat64(path, &stat) == 0; \
        errno = before; \
        int fd = opened(real(path, flags, mode), flags, existed, existed ? stat.st_size : 0); \
        LEAVE; \
        return fd; \
    }
OPEN(open)
OPEN(open64)

int rename(const char *from, const char *to) {
    REAL(rename);
    ENTER;
    int done = real(from, to);
    if (done == 0 && (watched(from) || watched(to))) {
        char both[8500];
        snprintf(both, sizeof both, "%s\t%s", from, to);
        entry('R', 0, 0, 0, both);
    }
    LEAVE;
    return done;
}

int unlink(const char *path) {
    REAL(unlink);
    ENTER;
    int done = real(path);
    if (done == 0 && watched(path)) entry('U', 0, 0, 0, path);
    LEAVE;
    return done;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    ENTER;
    int done = real(path, mode);
    if (done == 0 && watched(path)) entry('D', 0, 0, 0, path);
    LEAVE;
    return done;
}
