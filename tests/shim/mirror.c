/* Decides what a power cut leaves: the tree under FAULTFS_MIRROR, where
 * ino/ holds the durable content of each inode and tree/ the durable names. */
#include "faultfs.h"

#define DIRTY (1u << 16)

/* Bytes of an inode that were written and not synced. */
struct dirty {
    ino_t ino;
    off_t from, to;
};

static struct dirty dirty[DIRTY];
static char copy_buffer[1 << 16], list_buffer[1 << 15];

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

void mark(ino_t ino, off_t from, off_t to)
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

void forget(const struct place *place)
{
    char path[PATH_MAX];
    if (mirror[0] == 0 || !S_ISREG(place->stat.st_mode) || place->stat.st_nlink > 1)
        return;
    inode_path(path, place->stat.st_ino);
    syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    struct dirty *range = dirty_of(place->stat.st_ino);
    range->from = range->to = 0;
}

void make_file_durable(int fd, const struct place *place)
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

void make_directory_durable(const struct place *place)
{
    char real[PATH_MAX], durable[PATH_MAX];
    if (!join(durable, mirror, "tree", place->path) || !join(real, root, place->path, ""))
        broken("path too long");
    for_names(real, place->path, add_name);
    for_names(durable, place->path, drop_name);
}
