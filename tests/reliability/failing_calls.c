/* LD_PRELOAD library: calls that flush, write, link or rename fail, or take long, in the processes and at the time
 * that files in $EQMAIL_FAULTS say.  The file PROCESS.CALL holds: errno, milliseconds of delay, whether the first
 * hit is the last (1) or not (0), and a part of the path that is hit.  Every failure is a line of the file "hits".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static __thread int busy;

static void name_of(int fd, const char *path, char *name, size_t size) {
    if (path) {
        snprintf(name, size, "%s", path);
        return;
    }
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, size - 1);
    name[length > 0 ? length : 0] = 0;
}

static int error_due(const char *folder, const char *call, int fd, const char *path) {
    char process[17] = "", rule[512], text[256], part[128] = "", name[512];
    int error = 0, delay_ms = 0, once = 0;
    prctl(PR_GET_NAME, process);
    snprintf(rule, sizeof rule, "%s/%s.%s", folder, process, call);
    int file = (int)syscall(SYS_openat, AT_FDCWD, rule, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0)
        return 0;
    ssize_t length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    text[length > 0 ? length : 0] = 0;
    sscanf(text, "%d %d %d %127s", &error, &delay_ms, &once, part);
    name_of(fd, path, name, sizeof name);
    if (!strstr(name, part))
        return 0;
    if (once && syscall(SYS_unlinkat, AT_FDCWD, rule, 0))
        return 0; /* another process was first */
    char line[1024];
    int size = snprintf(line, sizeof line, "%s %s %s %d\n", process, call, name, error);
    snprintf(rule, sizeof rule, "%s/hits", folder);
    file = (int)syscall(SYS_openat, AT_FDCWD, rule, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (file >= 0) {
        syscall(SYS_write, file, line, size);
        syscall(SYS_close, file);
    }
    if (delay_ms) {
        struct timespec pause = {delay_ms / 1000, delay_ms % 1000 * 1000000L};
        nanosleep(&pause, 0);
    }
    return error;
}

static int fails(const char *call, int fd, const char *path) {
    const char *folder = getenv("EQMAIL_FAULTS");
    if (busy || !folder)
        return 0;
    int before = errno;
    busy = 1;
    int error = error_due(folder, call, fd, path);
    busy = 0;
    errno = error ? error : before;
    return error != 0;
}

static int is_regular(int fd) {
    struct stat state;
    return !fstat(fd, &state) && S_ISREG(state.st_mode);
}

#define REPLACE(type, name, parameters, arguments, condition)                                                          \
    type name parameters {                                                                                             \
        static type(*real) parameters;                                                                                 \
        if (!real)                                                                                                     \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name);                                                        \
        return condition ? -1 : real arguments;                                                                        \
    }

REPLACE(int, fsync, (int fd), (fd), fails("fsync", fd, 0))
REPLACE(int, fdatasync, (int fd), (fd), fails("fdatasync", fd, 0))
REPLACE(int, syncfs, (int fd), (fd), fails("syncfs", fd, 0))
REPLACE(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size),
        (is_regular(fd) && fails("write", fd, 0)))
#define PWRITEV(name)                                                                                                  \
    REPLACE(ssize_t, name, (int fd, const struct iovec *parts, int count, off64_t offset),                             \
            (fd, parts, count, offset), fails("pwritev", fd, 0))
#define PWRITEV2(name)                                                                                                 \
    REPLACE(ssize_t, name, (int fd, const struct iovec *parts, int count, off64_t offset, int flags),                  \
            (fd, parts, count, offset, flags), fails("pwritev", fd, 0))
PWRITEV(pwritev)
PWRITEV(pwritev64)
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)
REPLACE(int, rename, (const char *from, const char *to), (from, to), fails("rename", -1, to))
REPLACE(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), fails("rename", -1, to))
REPLACE(int, link, (const char *from, const char *to), (from, to), fails("link", -1, to))
REPLACE(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags),
        fails("link", -1, to))
