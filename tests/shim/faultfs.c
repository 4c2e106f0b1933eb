/* An LD_PRELOAD shim that decides what a disk would have done: which writes
 * and syncs fail, and what is left after a power cut.
 *
 * SIGKILL leaves the page cache alone, so a hub that never syncs passes every
 * test that only kills it. With FAULTFS_MIRROR set, this shim keeps a second
 * tree that holds what a disk is bound to hold and nothing else; after the
 * kill the test puts that tree in the place of the real one.
 *
 * The model, and where it is stricter or milder than a real file system:
 *  - content is durable from the fsync or fdatasync of its file on, and not
 *    earlier; an unsynced byte is always lost (a real disk may keep it);
 *  - a name (create, rename, unlink, mkdir) is durable from the fsync of its
 *    directory on; a new file's own fsync also makes its present name durable,
 *    as ext4 and XFS do and as programs rely on;
 *  - a file whose name is durable and whose content is not is empty;
 *  - sync_file_range, sync and syncfs promise nothing here.
 * Writes through mmap, stdio and raw system calls are not seen as they happen;
 * growth of a file by such means is taken at its next sync.
 *
 * Nothing here keeps state by descriptor: each call asks /proc for the path,
 * so dup, fdopen and a reused number cannot confuse it. No allocation, and no
 * dlsym: every call goes straight to the kernel.
 *
 * Environment:
 *   FAULTFS_DIR      absolute, canonical; only files below it are touched
 *   FAULTFS_MIRROR   has ino/ and tree/; absent: syncs are real
 *   FAULTFS_CONTROL  faults, one a line; read again whenever it changes, and
 *                    every counter then starts anew:
 *     fail-write PATTERN BYTES   EIO once BYTES were written to such files
 *     fail-sync PATTERN CALLS    EIO after CALLS syncs of such files
 *     short-write PATTERN        every write of two bytes or more is cut
 *     no-space BYTES             ENOSPC once BYTES were written in all
 *     drop-sync                  syncs say yes and do nothing
 *   Faults that struck are told in FAULTFS_CONTROL.hits, one a line.
 *   PATTERN is fnmatch(3) on the path below FAULTFS_DIR.
 */
#include "faultfs.h"

#include <pthread.h>
#include <sys/uio.h>

#define EXPORT __attribute__((visibility("default")))

char root[PATH_MAX], mirror[PATH_MAX], control[PATH_MAX];
static size_t root_length;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void start(void) __attribute__((constructor));

static void take(char *into, const char *name)
{
    const char *value = getenv(name);
    if (value != NULL && strlen(value) < PATH_MAX - 64)
        strcpy(into, value);
}

static void start(void)
{
    take(root, "FAULTFS_DIR");
    take(mirror, "FAULTFS_MIRROR");
    take(control, "FAULTFS_CONTROL");
    root_length = strlen(root);
}

int sys_open(const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

void sys_close(int fd)
{
    int kept = errno;
    syscall(SYS_close, fd);
    errno = kept;
}

int join(char *into, const char *a, const char *b, const char *c)
{
    int length = snprintf(into, PATH_MAX, "%s/%s%s%s", a, b, *c ? "/" : "", c);
    return length > 0 && length < PATH_MAX;
}

/* Whether `fd` is a file or directory below FAULTFS_DIR, and which. */
static int locate(int fd, struct place *place)
{
    char link[64], target[PATH_MAX];
    int kept = errno, ours = 0;
    if (root_length == 0 || fstat(fd, &place->stat) != 0)
        goto out;
    if (!S_ISREG(place->stat.st_mode) && !S_ISDIR(place->stat.st_mode))
        goto out;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1);
    if (length < (long)root_length || memcmp(target, root, root_length) != 0)
        goto out;
    target[length] = 0;
    if (target[root_length] != 0 && target[root_length] != '/')
        goto out;
    strcpy(place->path, target + root_length + (target[root_length] == '/'));
    ours = 1;
out:
    errno = kept;
    return ours;
}

static int sync_call(int fd, long number)
{
    struct place place;
    if (!locate(fd, &place))
        return (int)syscall(number, fd);
    pthread_mutex_lock(&lock);
    int kept = errno, result = 0, fate = admit_sync(&place);
    if (fate == FAIL_SYNC) {
        result = -1;
        kept = EIO;
    } else if (fate != DROP_SYNC && mirror[0] == 0) {
        result = (int)syscall(number, fd);
        kept = errno;
    } else if (fate != DROP_SYNC && S_ISDIR(place.stat.st_mode)) {
        make_directory_durable(&place);
    } else if (fate != DROP_SYNC) {
        make_file_durable(fd, &place);
    }
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}

EXPORT int fsync(int fd) { return sync_call(fd, SYS_fsync); }
EXPORT int fdatasync(int fd) { return sync_call(fd, SYS_fdatasync); }

/* Writes as much of `parts` as `allowed`; `at` < 0 means the file's offset. */
static ssize_t write_parts(int fd, const struct iovec *parts, int count, size_t allowed, off_t at)
{
    size_t done = 0;
    for (int i = 0; i < count && done < allowed; i++) {
        size_t wanted = parts[i].iov_len;
        if (wanted > allowed - done)
            wanted = allowed - done;
        long wrote = at < 0 ? syscall(SYS_write, fd, parts[i].iov_base, wanted)
                            : syscall(SYS_pwrite64, fd, parts[i].iov_base, wanted, at + (off_t)done);
        if (wrote < 0)
            return done > 0 ? (ssize_t)done : -1;
        done += (size_t)wrote;
        if ((size_t)wrote < wanted)
            break;
    }
    return (ssize_t)done;
}

static ssize_t write_call(const struct place *place, int fd, const struct iovec *parts, int count, off_t at)
{
    size_t wanted = 0;
    for (int i = 0; i < count; i++)
        wanted += parts[i].iov_len;
    pthread_mutex_lock(&lock);
    ssize_t result = wanted == 0 ? 0 : admit_write(place, wanted);
    if (result > 0)
        result = write_parts(fd, parts, count, (size_t)result, at);
    if (result > 0 && mirror[0] != 0) {
        int kept = errno;
        off_t from = at >= 0 ? at : lseek(fd, 0, SEEK_CUR) - result;
        mark(place->stat.st_ino, from, from + result);
        errno = kept;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

EXPORT ssize_t write(int fd, const void *data, size_t size)
{
    struct place place;
    struct iovec part = {(void *)data, size};
    return locate(fd, &place) ? write_call(&place, fd, &part, 1, -1) : syscall(SYS_write, fd, data, size);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    struct place place;
    return locate(fd, &place) ? write_call(&place, fd, parts, count, -1) : syscall(SYS_writev, fd, parts, count);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    struct place place;
    struct iovec part = {(void *)data, size};
    return locate(fd, &place) ? write_call(&place, fd, &part, 1, at) : syscall(SYS_pwrite64, fd, data, size, at);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

EXPORT ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags)
{
    struct place place;
    if (locate(fd, &place))
        return write_call(&place, fd, parts, count, at);
    return syscall(SYS_pwritev2, fd, parts, count, (long)at, 0L, flags);
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    return pwritev64v2(fd, parts, count, at, flags);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    return pwritev64v2(fd, parts, count, at, 0);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return pwritev64v2(fd, parts, count, at, 0);
}

/* Room that is set aside ahead of writing runs out like any other. */
static int out_of_space(int fd)
{
    struct place place;
    if (!locate(fd, &place))
        return 0;
    pthread_mutex_lock(&lock);
    int full = is_full(&place);
    pthread_mutex_unlock(&lock);
    return full;
}

EXPORT int fallocate64(int fd, int mode, off64_t at, off64_t size)
{
    if (out_of_space(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, at, size);
}

EXPORT int fallocate(int fd, int mode, off_t at, off_t size) { return fallocate64(fd, mode, at, size); }

EXPORT int posix_fallocate64(int fd, off64_t at, off64_t size)
{
    if (out_of_space(fd))
        return ENOSPC;
    return syscall(SYS_fallocate, fd, 0, at, size) == 0 ? 0 : errno;
}

EXPORT int posix_fallocate(int fd, off_t at, off_t size) { return posix_fallocate64(fd, at, size); }

/* Looks at what a path names before a call takes the name away. */
static int look(int dir, const char *path, struct place *place)
{
    int kept = errno, ours = 0;
    int fd = (int)syscall(SYS_openat, dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0) {
        ours = locate(fd, place);
        sys_close(fd);
    }
    errno = kept;
    return ours;
}

EXPORT int unlinkat(int dir, const char *path, int flags)
{
    struct place place;
    pthread_mutex_lock(&lock);
    int ours = look(dir, path, &place);
    int result = (int)syscall(SYS_unlinkat, dir, path, flags);
    if (ours && result == 0)
        forget(&place);
    pthread_mutex_unlock(&lock);
    return result;
}

EXPORT int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

EXPORT int remove(const char *path)
{
    int result = unlinkat(AT_FDCWD, path, 0);
    return result != 0 && errno == EISDIR ? unlinkat(AT_FDCWD, path, AT_REMOVEDIR) : result;
}

EXPORT int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    struct place place;
    pthread_mutex_lock(&lock);
    int ours = (flags & RENAME_EXCHANGE) == 0 && look(to_dir, to, &place);
    int result = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (ours && result == 0)
        forget(&place);
    pthread_mutex_unlock(&lock);
    return result;
}

EXPORT int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return renameat2(from_dir, from, to_dir, to, 0);
}

EXPORT int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
