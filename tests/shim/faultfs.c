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
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define RULES 16
#define DIRTY (1u << 16)

enum fault { FAIL_WRITE, FAIL_SYNC, SHORT_WRITE, NO_SPACE, DROP_SYNC };

static const char *const FAULT_NAMES[] = {
    "fail-write", "fail-sync", "short-write", "no-space", "drop-sync",
};

struct rule {
    enum fault fault;
    char pattern[256];
    long long limit;
    long long used;
};

/* Bytes of an inode that were written and not synced. */
struct dirty {
    ino_t ino;
    off_t from, to;
};

/* A file below FAULTFS_DIR. */
struct place {
    struct stat stat;
    char path[PATH_MAX]; /* below FAULTFS_DIR; "" is that directory itself */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], mirror[PATH_MAX], control[PATH_MAX];
static size_t root_length;
static struct rule rules[RULES];
static int rule_count;
static struct stat control_seen;
static struct dirty dirty[DIRTY];
static char copy_buffer[1 << 16], list_buffer[1 << 15];

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

static int sys_open(const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

static void sys_close(int fd)
{
    int kept = errno;
    syscall(SYS_close, fd);
    errno = kept;
}

/* Joins path parts; false if they do not fit. */
static int join(char *into, const char *a, const char *b, const char *c)
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

/* --- faults ------------------------------------------------------------ */

static void read_rules(char *text)
{
    char *rest = NULL;
    rule_count = 0;
    for (char *line = strtok_r(text, "\n", &rest); line && rule_count < RULES;
         line = strtok_r(NULL, "\n", &rest)) {
        struct rule rule = {.pattern = "*"};
        char name[32];
        if (sscanf(line, "%31s", name) != 1)
            continue;
        size_t fault = 0;
        while (fault <= DROP_SYNC && strcmp(name, FAULT_NAMES[fault]) != 0)
            fault++;
        rule.fault = (enum fault)fault;
        int read = 1;
        switch (fault) {
        case FAIL_WRITE:
        case FAIL_SYNC:
            read = sscanf(line, "%*s %255s %lld", rule.pattern, &rule.limit) == 2;
            break;
        case SHORT_WRITE:
            read = sscanf(line, "%*s %255s", rule.pattern) == 1;
            break;
        case NO_SPACE:
            read = sscanf(line, "%*s %lld", &rule.limit) == 1;
            break;
        case DROP_SYNC:
            break;
        default:
            read = 0;
        }
        if (!read) {
            /* A typing error must not turn a test into one without a fault. */
            dprintf(STDERR_FILENO, "faultfs: cannot read \"%s\"\n", line);
            abort();
        }
        rules[rule_count++] = rule;
    }
}

static void refresh(void)
{
    static char text[8192];
    struct stat now;
    if (control[0] == 0)
        return;
    if (stat(control, &now) != 0) {
        rule_count = 0;
        memset(&control_seen, 0, sizeof control_seen);
        return;
    }
    if (now.st_ino == control_seen.st_ino && now.st_size == control_seen.st_size &&
        now.st_mtim.tv_sec == control_seen.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == control_seen.st_mtim.tv_nsec)
        return;
    int fd = sys_open(control, O_RDONLY, 0);
    if (fd < 0)
        return;
    long length = syscall(SYS_read, fd, text, sizeof text - 1);
    sys_close(fd);
    if (length < 0)
        return;
    text[length] = 0;
    control_seen = now;
    read_rules(text);
}

static void tell(enum fault fault, const struct place *place)
{
    char path[PATH_MAX + 8], line[PATH_MAX + 64];
    int kept = errno;
    snprintf(path, sizeof path, "%s.hits", control);
    int length = snprintf(line, sizeof line, "%s %s\n", FAULT_NAMES[fault], place->path);
    int fd = sys_open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) {
        syscall(SYS_write, fd, line, (size_t)length);
        sys_close(fd);
    }
    errno = kept;
}

static int applies(const struct rule *rule, enum fault fault, const struct place *place)
{
    return rule->fault == fault && fnmatch(rule->pattern, place->path, 0) == 0;
}

/* How many of `wanted` bytes may be written; -1 with errno if none. */
static ssize_t admit(const struct place *place, size_t wanted)
{
    size_t allowed = wanted;
    refresh();
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (applies(rule, FAIL_WRITE, place) && rule->used + (long long)wanted > rule->limit) {
            tell(FAIL_WRITE, place);
            errno = EIO;
            return -1;
        }
        if (rule->fault == NO_SPACE && rule->used + (long long)allowed > rule->limit) {
            tell(NO_SPACE, place);
            allowed = (size_t)(rule->limit > rule->used ? rule->limit - rule->used : 0);
            if (allowed == 0) {
                errno = ENOSPC;
                return -1;
            }
        }
        if (applies(rule, SHORT_WRITE, place) && allowed > 1) {
            tell(SHORT_WRITE, place);
            allowed = (allowed + 1) / 2;
        }
    }
    for (int i = 0; i < rule_count; i++)
        if (rules[i].fault == NO_SPACE || applies(&rules[i], FAIL_WRITE, place))
            rules[i].used += (long long)allowed;
    return (ssize_t)allowed;
}

/* --- the mirror -------------------------------------------------------- */

static struct dirty *dirty_of(ino_t ino)
{
    unsigned at = (unsigned)(ino * 2654435761u) % DIRTY;
    for (unsigned i = 0; i < DIRTY; i++, at = (at + 1) % DIRTY)
        if (dirty[at].ino == ino || dirty[at].ino == 0) {
            dirty[at].ino = ino;
            return &dirty[at];
        }
    dprintf(STDERR_FILENO, "faultfs: more than %u files\n", DIRTY);
    abort();
}

static void mark(ino_t ino, off_t from, off_t to)
{
    struct dirty *range = dirty_of(ino);
    if (range->to == 0) {
        range->from = from;
        range->to = to;
        return;
    }
    if (from < range->from)
        range->from = from;
    if (to > range->to)
        range->to = to;
}

static void broken(const char *what)
{
    /* A mirror that is wrong would make every test after it a lie. */
    dprintf(STDERR_FILENO, "faultfs: mirror: %s: %s\n", what, strerror(errno));
    abort();
}

static void inode_path(char *into, ino_t ino)
{
    char name[32];
    snprintf(name, sizeof name, "%llu", (unsigned long long)ino);
    if (!join(into, mirror, "ino", name))
        broken("path too long");
}

/* Makes the name `path` in the durable tree stand for inode `ino`. */
static void link_name(const char *path, ino_t ino)
{
    char from[PATH_MAX], to[PATH_MAX], beside[PATH_MAX];
    struct stat have, want;
    inode_path(from, ino);
    if (!join(to, mirror, "tree", path) || !join(beside, mirror, "linking", ""))
        broken("path too long");
    int fd = sys_open(from, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || fstat(fd, &want) != 0)
        broken("inode");
    sys_close(fd);
    if (stat(to, &have) == 0 && have.st_ino == want.st_ino)
        return;
    for (char *slash = to + strlen(mirror) + 6; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = 0;
        syscall(SYS_mkdirat, AT_FDCWD, to, 0700);
        *slash = '/';
    }
    syscall(SYS_unlinkat, AT_FDCWD, beside, 0);
    if (syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, beside, 0) != 0)
        broken("link");
    if (syscall(SYS_renameat2, AT_FDCWD, beside, AT_FDCWD, to, 0) != 0)
        broken(to);
}

/* The name of an unlinked inode may be given to another file. */
static void forget(const struct place *place)
{
    char path[PATH_MAX];
    if (mirror[0] == 0 || !S_ISREG(place->stat.st_mode) || place->stat.st_nlink > 1)
        return;
    inode_path(path, place->stat.st_ino);
    syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    struct dirty *range = dirty_of(place->stat.st_ino);
    range->from = range->to = 0;
}

static void make_file_durable(int fd, const struct place *place)
{
    char path[PATH_MAX], link[64];
    struct stat now, have;
    if (place->stat.st_nlink == 0)
        return;
    inode_path(path, place->stat.st_ino);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int from = sys_open(link, O_RDONLY, 0);
    int to = sys_open(path, O_WRONLY | O_CREAT, 0600);
    if (from < 0 || to < 0 || fstat(from, &now) != 0 || fstat(to, &have) != 0)
        broken("open");
    struct dirty *range = dirty_of(place->stat.st_ino);
    off_t at = have.st_size, end = now.st_size;
    if (range->to != 0 && range->from < at)
        at = range->from;
    range->from = range->to = 0;
    if (have.st_size > now.st_size && syscall(SYS_ftruncate, to, now.st_size) != 0)
        broken("truncate");
    while (at < end) {
        size_t wanted = sizeof copy_buffer;
        if ((off_t)wanted > end - at)
            wanted = (size_t)(end - at);
        long got = syscall(SYS_pread64, from, copy_buffer, wanted, at);
        if (got <= 0)
            break;
        if (syscall(SYS_pwrite64, to, copy_buffer, (size_t)got, at) != got)
            broken("copy");
        at += got;
    }
    sys_close(from);
    sys_close(to);
    link_name(place->path, place->stat.st_ino);
}

struct entry {
    unsigned long long ino;
    long long next;
    unsigned short size;
    unsigned char type;
    char name[];
};

/* Calls `each` for the names in the directory `path`. */
static void for_names(const char *path, const char *below,
                      void (*each)(const char *dir, const char *below, const char *name))
{
    int fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return;
    for (;;) {
        long length = syscall(SYS_getdents64, fd, list_buffer, sizeof list_buffer);
        if (length <= 0)
            break;
        for (long at = 0; at < length;) {
            struct entry *entry = (struct entry *)(list_buffer + at);
            at += entry->size;
            if (strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0)
                each(path, below, entry->name);
        }
    }
    sys_close(fd);
}

static void add_name(const char *dir, const char *below, const char *name)
{
    char real[PATH_MAX], path[PATH_MAX], durable[PATH_MAX];
    struct stat now;
    if (!join(real, dir, name, "") || (*below && !join(path, below, name, "")))
        broken("path too long");
    if (lstat(real, &now) != 0)
        return;
    if (!*below)
        strcpy(path, name);
    if (S_ISREG(now.st_mode))
        link_name(path, now.st_ino);
    else if (S_ISDIR(now.st_mode) && join(durable, mirror, "tree", path))
        syscall(SYS_mkdirat, AT_FDCWD, durable, 0700);
}

static void drop_name(const char *dir, const char *below, const char *name)
{
    char real[PATH_MAX], durable[PATH_MAX];
    struct stat now;
    if (!join(durable, dir, name, "") || !join(real, root, *below ? below : name, *below ? name : ""))
        broken("path too long");
    if (lstat(real, &now) != 0 && errno == ENOENT &&
        syscall(SYS_unlinkat, AT_FDCWD, durable, 0) != 0)
        syscall(SYS_unlinkat, AT_FDCWD, durable, AT_REMOVEDIR);
}

static void make_directory_durable(const struct place *place)
{
    char real[PATH_MAX], durable[PATH_MAX];
    if (!join(durable, mirror, "tree", place->path) || !join(real, root, place->path, ""))
        broken("path too long");
    for_names(real, place->path, add_name);
    for_names(durable, place->path, drop_name);
}

/* --- the calls --------------------------------------------------------- */

static int sync_call(int fd, long number)
{
    struct place place;
    if (!locate(fd, &place))
        return (int)syscall(number, fd);
    pthread_mutex_lock(&lock);
    int kept = errno, result = 0, fail = 0, drop = 0;
    refresh();
    for (int i = 0; i < rule_count; i++) {
        if (rules[i].fault == DROP_SYNC) {
            tell(DROP_SYNC, &place);
            drop = 1;
        } else if (applies(&rules[i], FAIL_SYNC, &place) && rules[i].used++ >= rules[i].limit) {
            tell(FAIL_SYNC, &place);
            fail = 1;
        }
    }
    if (!fail && !drop && mirror[0] == 0) {
        result = (int)syscall(number, fd);
        kept = errno;
    } else if (!fail && !drop && S_ISDIR(place.stat.st_mode)) {
        make_directory_durable(&place);
    } else if (!fail && !drop) {
        make_file_durable(fd, &place);
    }
    pthread_mutex_unlock(&lock);
    errno = fail ? EIO : kept;
    return fail ? -1 : result;
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
    ssize_t result = wanted == 0 ? 0 : admit(place, wanted);
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
    int full = 0;
    if (!locate(fd, &place))
        return 0;
    pthread_mutex_lock(&lock);
    refresh();
    for (int i = 0; i < rule_count; i++)
        full |= rules[i].fault == NO_SPACE && rules[i].used >= rules[i].limit;
    if (full)
        tell(NO_SPACE, &place);
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
