/* Preloaded into the program, makes its k-th call of a kind fail, counted over all threads; only calls on files below a directory
 * count. SEGTIDE_FAULT is `<call>:<k>:<how many>:<what>:<directory>`, where <what> is EIO, ENOSPC, SHORT (half of what was to
 * be written is) or KILL (the process dies before the call). Once it has struck, the file SEGTIDE_FAULT_MARK exists.
 *
 * cc -shared -fPIC -O1 -o faults.so faults.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum outcome { PASS, FAIL, SHORT };

static char call[32], what[16], directory[PATH_MAX];
static long first, many;
static atomic_long count;

__attribute__((constructor)) static void arm(void) {
    const char *plan = getenv("SEGTIDE_FAULT");
    if (plan && sscanf(plan, "%31[^:]:%ld:%ld:%15[^:]:%4095[^\n]", call, &first, &many, what, directory) != 5) {
        fprintf(stderr, "SEGTIDE_FAULT cannot be read: %s\n", plan);
        abort();
    }
}

static int is_ours(const char *path) {
    return path && strncmp(path, directory, strlen(directory)) == 0;
}

static int is_ours_open(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_ours(path);
}

/* What becomes of this call, which is on a file of ours if `ours`. */
static enum outcome strike(const char *name, int ours) {
    if (!call[0] || !ours || strcmp(name, call)) return PASS;
    long number = atomic_fetch_add(&count, 1) + 1;
    if (number < first || number >= first + many) return PASS;
    const char *mark = getenv("SEGTIDE_FAULT_MARK");
    if (mark) close(syscall(SYS_openat, AT_FDCWD, mark, O_CREAT | O_WRONLY, 0600));
    if (!strcmp(what, "KILL")) kill(getpid(), SIGKILL);
    if (!strcmp(what, "SHORT")) return SHORT;
    errno = !strcmp(what, "ENOSPC") ? ENOSPC : EIO;
    return FAIL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define BY_FD(name, counted, fd) strike(counted, call[0] && !strcmp(call, counted) && is_ours_open(fd))

ssize_t write(int fd, const void *bytes, size_t length) {
    enum outcome outcome = fd > 2 ? BY_FD(write, "write", fd) : PASS;
    if (outcome == FAIL) return -1;
    return REAL(write)(fd, bytes, outcome == SHORT && length > 1 ? length / 2 : length);
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *bytes, size_t length, off_t offset) { \
        enum outcome outcome = BY_FD(name, "pwrite", fd); \
        if (outcome == FAIL) return -1; \
        return REAL(name)(fd, bytes, outcome == SHORT && length > 1 ? length / 2 : length, offset); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t read(int fd, void *bytes, size_t length) {
    if (BY_FD(read, "read", fd) == FAIL) return -1;
    return REAL(read)(fd, bytes, length);
}

#define PREAD(name) \
    ssize_t name(int fd, void *bytes, size_t length, off_t offset) { \
        if (BY_FD(name, "pread", fd) == FAIL) return -1; \
        return REAL(name)(fd, bytes, length, offset); \
    }
PREAD(pread)
PREAD(pread64)

int fsync(int fd) { return BY_FD(fsync, "fsync", fd) == FAIL ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return BY_FD(fdatasync, "fdatasync", fd) == FAIL ? -1 : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t length) { return BY_FD(ftruncate, "ftruncate", fd) == FAIL ? -1 : REAL(ftruncate)(fd, length); }
int ftruncate64(int fd, off_t length) { return BY_FD(ftruncate64, "ftruncate", fd) == FAIL ? -1 : REAL(ftruncate64)(fd, length); }

int posix_fallocate64(int fd, off_t offset, off_t length) {
    return BY_FD(posix_fallocate64, "fallocate", fd) == FAIL ? errno : REAL(posix_fallocate64)(fd, offset, length);
}
int fallocate64(int fd, int mode, off_t offset, off_t length) {
    return BY_FD(fallocate64, "fallocate", fd) == FAIL ? -1 : REAL(fallocate64)(fd, mode, offset, length);
}

int rename(const char *from, const char *to) { return strike("rename", is_ours(to)) == FAIL ? -1 : REAL(rename)(from, to); }
int link(const char *from, const char *to) { return strike("link", is_ours(to)) == FAIL ? -1 : REAL(link)(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    return strike("link", is_ours(to)) == FAIL ? -1 : REAL(linkat)(a, from, b, to, flags);
}
int unlink(const char *path) { return strike("unlink", is_ours(path)) == FAIL ? -1 : REAL(unlink)(path); }
int mkdir(const char *path, mode_t mode) { return strike("mkdir", is_ours(path)) == FAIL ? -1 : REAL(mkdir)(path, mode); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        const char *counted = flags & O_CREAT ? "create" : "open"; \
        return strike(counted, is_ours(path)) == FAIL ? -1 : REAL(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
