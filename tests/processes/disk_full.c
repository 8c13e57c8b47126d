/* Loaded before libc by the test of a full disk: while the file that KOKORO_DISK_FULL names exists, no file gets a block
 * more. What lies within blocks that a file has already is still written. A file may be set to a length beyond its blocks: that takes
 * none, and writing there is refused. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int refused(int fd, off_t end) {
    const char *mark = getenv("KOKORO_DISK_FULL");
    struct stat file;
    if (mark == NULL || access(mark, F_OK) != 0) return 0;
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || end <= (off_t)file.st_blocks * 512) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    return refused(fd, at + (off_t)count) ? -1 : real(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

ssize_t write(int fd, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "write");
    off_t at = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    return at >= 0 && refused(fd, at + (off_t)count) ? -1 : real(fd, bytes, count);
}
