/* Plays a bad disk below one folder: full, read-only, failing or slow.
 *
 * Loaded with LD_PRELOAD. RELAY_FAULTS names a file that says how the disk is now, read anew at each
 * call: "ok", "full" (ENOSPC), "readonly" (EROFS), "broken" (EIO) or "slow MILLISECONDS".
 * RELAY_FAULTS_UNDER names the folder. Reading goes on: a disk that cannot be written often still can
 * be read. A full disk takes syncs of what is there, and refuses what would grow it; what is already
 * allocated may be overwritten on a real one, and is refused here, which is worse.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { WRITE, SYNC, MAKE };

static int is_under(const char *path) {
    const char *under = getenv("RELAY_FAULTS_UNDER");
    size_t length = under ? strlen(under) : 0;
    return under && strncmp(path, under, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int fd_is_under(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_under(path);
}

/* 0, or what the disk answers now; sleeps where it is slow. */
static int fault(enum kind kind) {
    char text[64] = {0};
    const char *path = getenv("RELAY_FAULTS");
    int before = errno;
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) { errno = before; return 0; }
    ssize_t length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    errno = before;
    if (length <= 0) return 0;
    if (!strncmp(text, "full", 4)) return kind == SYNC ? 0 : ENOSPC;
    if (!strncmp(text, "readonly", 8)) return kind == SYNC ? 0 : EROFS;
    if (!strncmp(text, "broken", 6)) return EIO;
    if (!strncmp(text, "slow", 4) && kind != MAKE) {
        long ms = atol(text + 4);
        struct timespec time = { ms / 1000, (ms % 1000) * 1000000L };
        nanosleep(&time, 0);
    }
    return 0;
}

#define REAL(name) \
    static __typeof__(&name) real = 0; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define REFUSE(condition, kind) \
    if (condition) { int error = fault(kind); if (error) { errno = error; return -1; } }

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write);
    REFUSE(fd > 2 && fd_is_under(fd), WRITE);
    return real(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    REFUSE(fd > 2 && fd_is_under(fd), WRITE);
    return real(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    REAL(pwrite64);
    REFUSE(fd_is_under(fd), WRITE);
    return real(fd, bytes, length, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}

int fsync(int fd) { REAL(fsync); REFUSE(fd_is_under(fd), SYNC); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); REFUSE(fd_is_under(fd), SYNC); return real(fd); }
int ftruncate(int fd, off_t length) { REAL(ftruncate); REFUSE(fd_is_under(fd), MAKE); return real(fd, length); }
int ftruncate64(int fd, off64_t length) { REAL(ftruncate64); REFUSE(fd_is_under(fd), MAKE); return real(fd, length); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); REFUSE(is_under(path), MAKE); return real(path, mode); }
int rename(const char *from, const char *to) { REAL(rename); REFUSE(is_under(to), MAKE); return real(from, to); }
int unlink(const char *path) {
    REAL(unlink);
    /* A full disk takes away gladly. */
    if (is_under(path)) { int error = fault(MAKE); if (error && error != ENOSPC) { errno = error; return -1; } }
    return real(path);
}

/* What is opened for writing; a full disk opens what is there. */
static int refuses(const char *path, int flags) {
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (!writes || !is_under(path)) return 0;
    int error = fault(MAKE);
    if (error == ENOSPC && !((flags & O_CREAT) && access(path, F_OK) != 0)) return 0;
    return error;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        int before = errno, error = refuses(path, flags); \
        if (error) { errno = error; return -1; } \
        errno = before; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        int before = errno, error = refuses(path, flags); \
        if (error) { errno = error; return -1; } \
        errno = before; \
        return real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)
