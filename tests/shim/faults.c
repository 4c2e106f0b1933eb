/* Decides which writes and syncs fail: the rules of FAULTFS_CONTROL. */
#include "faultfs.h"

#include <fnmatch.h>

#define RULES 16

static const char *const FAULT_NAMES[] = {
    "fail-write", "fail-sync", "short-write", "no-space", "drop-sync",
};

struct rule {
    enum fault fault;
    char pattern[256];
    long long limit;
    long long used;
};

static struct rule rules[RULES];
static int rule_count;
static struct stat control_seen;

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

ssize_t admit_write(const struct place *place, size_t wanted)
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

int admit_sync(const struct place *place)
{
    refresh();
    for (int i = 0; i < rule_count; i++) {
        int failing = applies(&rules[i], FAIL_SYNC, place) && rules[i].used++ >= rules[i].limit;
        if (failing || rules[i].fault == DROP_SYNC) {
            tell(rules[i].fault, place);
            return (int)rules[i].fault;
        }
    }
    return 0;
}

int is_full(const struct place *place)
{
    int full = 0;
    refresh();
    for (int i = 0; i < rule_count; i++)
        full |= rules[i].fault == NO_SPACE && rules[i].used >= rules[i].limit;
    if (full)
        tell(NO_SPACE, place);
    return full;
}
