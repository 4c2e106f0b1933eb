/* What the parts of the shim share; see faultfs.c. */
#ifndef FAULTFS_H
#define FAULTFS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fault { FAIL_WRITE, FAIL_SYNC, SHORT_WRITE, NO_SPACE, DROP_SYNC };

/* A file or directory below FAULTFS_DIR. */
struct place {
    struct stat stat;
    char path[PATH_MAX]; /* below FAULTFS_DIR; "" is that directory itself */
};

/* FAULTFS_DIR, FAULTFS_MIRROR and FAULTFS_CONTROL; "" where not set. */
extern char root[PATH_MAX], mirror[PATH_MAX], control[PATH_MAX];

/* Calls of the kernel that this shim does not stand before. */
int sys_open(const char *path, int flags, mode_t mode);
void sys_close(int fd);

/* Joins path parts; false if they do not fit. */
int join(char *into, const char *a, const char *b, const char *c);

/* What follows is called with the lock of faultfs.c held. */

/* faults.c: how many of `wanted` bytes may be written; -1 with errno if none. */
ssize_t admit_write(const struct place *place, size_t wanted);
/* What is to become of a sync: 0 it happens, FAIL_SYNC or DROP_SYNC. */
int admit_sync(const struct place *place);
/* Whether the disk is full. */
int is_full(const struct place *place);

/* mirror.c: notes bytes written and not synced. */
void mark(ino_t ino, off_t from, off_t to);
/* Makes a file's content, and a new file's name, durable. */
void make_file_durable(int fd, const struct place *place);
/* Makes the names in a directory durable. */
void make_directory_durable(const struct place *place);
/* The name of an unlinked inode may be given to another file. */
void forget(const struct place *place);

#endif
