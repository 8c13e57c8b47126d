/* Loaded before libc by tests (flushes.rs): holds every fsync and fdatasync until the test, which listens on the
 * socket that KOKORO_FSYNC_GATE names, says what is to become of it: 'g' goes through, anything else fails with EIO. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int allowed(void) {
    const char *path = getenv("KOKORO_FSYNC_GATE");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char verdict = 0;
    if (path == NULL || strlen(path) >= sizeof address.sun_path) return 1;
    strcpy(address.sun_path, path);
    int gate = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (gate < 0 || connect(gate, (struct sockaddr *)&address, sizeof address) != 0) {
        if (gate >= 0) close(gate);
        return 1;
    }
    ssize_t got;
    do got = read(gate, &verdict, 1); while (got < 0 && errno == EINTR);
    close(gate);
    return got == 1 && verdict == 'g';
}

static int gated(const char *name, int fd) {
    if (!allowed()) {
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return gated("fsync", fd); }
int fdatasync(int fd) { return gated("fdatasync", fd); }
