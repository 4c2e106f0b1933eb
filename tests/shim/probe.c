/* Runs the file operations named on its command line, one argument each, and
 * prints what each answered: the number returned, or the name of the error.
 *
 *   create PATH | open PATH      the file that the following words act on,
 *                                in place of the one before
 *   close
 *   write TEXT | pwrite AT TEXT | writev A B
 *   fsync | fdatasync | truncate SIZE | reserve SIZE
 *   rename FROM TO | link FROM TO | unlink PATH | mkdir PATH | syncdir PATH
 *   fill SIZE                    a write of SIZE bytes, all `f`
 *   wait PATH                    until that file is there
 *   kill                         SIGKILL, as the power cut of the tests
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char filler[1 << 20];

static int sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    int result = fd < 0 ? -1 : fsync(fd);
    int kept = errno;
    if (fd >= 0)
        close(fd);
    errno = kept;
    return result;
}

static long run(char *word, int *fd)
{
    char *rest = NULL, *verb = strtok_r(word, " ", &rest);
    char *a = strtok_r(NULL, " ", &rest), *b = strtok_r(NULL, " ", &rest);
    if (*fd >= 0 && (strcmp(verb, "create") == 0 || strcmp(verb, "open") == 0))
        close(*fd);
    if (strcmp(verb, "create") == 0)
        return *fd = open(a, O_RDWR | O_CREAT | O_TRUNC, 0600), *fd < 0 ? -1 : 0;
    if (strcmp(verb, "open") == 0)
        return *fd = open(a, O_RDWR), *fd < 0 ? -1 : lseek(*fd, 0, SEEK_END) < 0 ? -1 : 0;
    if (strcmp(verb, "close") == 0)
        return close(*fd), *fd = -1, 0;
    if (strcmp(verb, "write") == 0)
        return write(*fd, a, strlen(a));
    if (strcmp(verb, "fill") == 0)
        return write(*fd, memset(filler, 'f', sizeof filler), (size_t)atol(a));
    if (strcmp(verb, "pwrite") == 0)
        return pwrite(*fd, b, strlen(b), atol(a));
    if (strcmp(verb, "writev") == 0) {
        struct iovec parts[] = {{a, strlen(a)}, {b, strlen(b)}};
        return writev(*fd, parts, 2);
    }
    if (strcmp(verb, "fsync") == 0)
        return fsync(*fd);
    if (strcmp(verb, "fdatasync") == 0)
        return fdatasync(*fd);
    if (strcmp(verb, "truncate") == 0)
        return ftruncate(*fd, atol(a));
    if (strcmp(verb, "reserve") == 0)
        return fallocate(*fd, FALLOC_FL_KEEP_SIZE, 0, atol(a));
    if (strcmp(verb, "rename") == 0)
        return rename(a, b);
    if (strcmp(verb, "link") == 0)
        return link(a, b);
    if (strcmp(verb, "unlink") == 0)
        return unlink(a);
    if (strcmp(verb, "mkdir") == 0)
        return mkdir(a, 0700);
    if (strcmp(verb, "syncdir") == 0)
        return sync_directory(a);
    if (strcmp(verb, "wait") == 0) {
        while (access(a, F_OK) != 0)
            usleep(1000);
        return 0;
    }
    if (strcmp(verb, "kill") == 0)
        return raise(SIGKILL);
    fprintf(stderr, "probe: no such word: %s\n", verb);
    exit(64);
}

int main(int count, char **words)
{
    int fd = -1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < count; i++) {
        long result = run(words[i], &fd);
        if (result < 0)
            printf("%s\n", errno == EIO ? "EIO" : errno == ENOSPC ? "ENOSPC" : strerror(errno));
        else
            printf("%ld\n", result);
    }
    return 0;
}
