/* Preloaded: lets the n-th change of files below a folder fail, and with `sticky` every later one that takes room. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char root[4096];
static long left = -1, seen = 0;
static int error_number, sticky, fired;

void failing_arm(const char *folder, long n, int error, int keep) {
    strncpy(root, folder, sizeof root - 1);
    left = n; seen = 0; error_number = error; sticky = keep; fired = 0;
}
void failing_disarm(void) { left = -1; root[0] = 0; }
int failing_fired(void) { return fired; }
long failing_seen(void) { return seen; }

static int below(const char *path) {
    if (!root[0]) return 0;
    if (path[0] == '/') return !strncmp(path, root, strlen(root));
    return 1;
}
static int fd_below(int fd) {
    char link[64], path[4096];
    if (!root[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}
static int fails(int takes_room) {
    if (left < 0) return 0;
    if (fired && sticky && takes_room) { errno = error_number; return 1; }
    if (sticky && !takes_room) return 0;
    seen++;
    if (fired || --left > 0) return 0;
    fired = 1;
    errno = error_number;
    return 1;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *buffer, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (fd_below(fd) && fails(1)) {
        int saved = errno;
        if (count > 1) { ssize_t half = real(fd, buffer, count / 2); (void)half; lseek(fd, 0, SEEK_CUR); }
        errno = saved;
        return -1;
    }
    return real(fd, buffer, count);
}
#define PWRITE(function) \
    ssize_t function(int fd, const void *buffer, size_t count, off_t offset) { \
        REAL(ssize_t, #function, int, const void *, size_t, off_t); \
        if (fd_below(fd) && fails(1)) { \
            int saved = errno; \
            ssize_t half = real(fd, buffer, count / 2, offset); (void)half; \
            errno = saved; \
            return -1; \
        } \
        return real(fd, buffer, count, offset); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)
/* What is not synced is lost when the machine stops, which it does not here: the real call would only take time. */
#define SYNC(function) \
    int function(int fd) { return fd_below(fd) && fails(0) ? -1 : 0; }
SYNC(fsync)
SYNC(fdatasync)
#define TRUNCATE(function) \
    int function(int fd, off_t length) { \
        REAL(int, #function, int, off_t); \
        return fd_below(fd) && fails(length > 0) ? -1 : real(fd, length); \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)
int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return below(to) && fails(0) ? -1 : real(from, to);
}
int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return below(path) && fails(0) ? -1 : real(path);
}
int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return below(path) && fails(1) ? -1 : real(path, mode);
}
#define OPEN(function) \
    int function(const char *path, int flags, ...) { \
        REAL(int, #function, const char *, int, ...); \
        mode_t mode = 0; \
        if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); } \
        if ((flags & O_CREAT) && below(path) && fails(1)) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
