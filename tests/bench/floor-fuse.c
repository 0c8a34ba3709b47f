/* The floor of a container in a user namespace: the servers and the mounts that `lamina exec --userns` makes for an image
 * file, with nothing confined. An ordinary user starts it. What it cannot do, it ends with: there is one exit status.
 *
 *   floor-fuse FLOOR STAGE IMAGE OFFSET OVERLAY|- HOME PROGRAM [ARGUMENT]...
 *
 * FLOOR is the other program of this folder, which makes the rest of the mounts. STAGE is a directory to mount over. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int result, const char *what)
{
    if (result < 0)
        err(255, "%s", what);
}

static void say(const char *where, const char *what)
{
    int file = open(where, O_WRONLY | O_CLOEXEC);
    must(file, where);
    must(write(file, what, strlen(what)), where);
    close(file);
}

/* The caller keeps his ids, and his servers the power to mount. */
static void enter(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    char users[32], groups[32];
    snprintf(users, sizeof users, "%u %u 1", getuid(), getuid());
    snprintf(groups, sizeof groups, "%u %u 1", getgid(), getgid());
    must(unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare");
    say("/proc/self/setgroups", "deny");
    say("/proc/self/uid_map", users);
    say("/proc/self/gid_map", groups);
    must(syscall(SYS_capget, &header, sets), "capget");
    for (int half = 0; half < 2; half++)
        sets[half].inheritable = sets[half].permitted;
    must(syscall(SYS_capset, &header, sets), "capset");
    for (int capability = 0; capability <= 40; capability++)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
}

/* Starts a server, which goes on in the background when its mount can be used. */
static void serve(char *const *words)
{
    int status, quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t server = fork();
    must(server, "fork");
    if (server == 0) {
        dup2(quiet, 1);
        dup2(quiet, 2);
        execvp(words[0], words);
        err(255, "%s", words[0]);
    }
    close(quiet);
    must(waitpid(server, &status, 0), words[0]);
    if (status != 0)
        errx(255, "%s: status %d", words[0], status);
}

static void directories(const char *path)
{
    char part[4096];
    for (const char *end = path; (end = strchr(end + 1, '/'));) {
        snprintf(part, sizeof part, "%.*s", (int)(end - path), path);
        mkdir(part, 0755);
    }
    mkdir(path, 0755);
}

int main(int count, char **argument)
{
    if (count < 8)
        errx(255, "usage: floor-fuse FLOOR STAGE IMAGE OFFSET OVERLAY|- HOME PROGRAM [ARGUMENT]...");
    char *floor = argument[1], *stage = argument[2], *image = argument[3], *overlay = argument[5], *home = argument[6];
    char options[512], root[4096], layer[4096], skeleton[4096];
    const char *own = "allow_other,default_permissions";
    int status, stacked = strcmp(overlay, "-") != 0;

    must(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
    enter();
    must(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL), "/");
    must(mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m"), stage);
    must(chdir(stage), stage);
    must(mkdir("image", 0755), "image");
    snprintf(options, sizeof options, "ro,offset=%s,uid=%u,gid=%u,%s", argument[4], getuid(), getgid(), own);
    serve((char *[]){"squashfuse", "-o", options, image, "image", NULL});
    snprintf(root, sizeof root, "%s/image", stage);
    if (stacked) {
        must(mkdir("layer", 0755), "layer");
        must(mkdir("merged", 0755), "merged");
        snprintf(options, sizeof options, "fakeroot,%s", own);
        snprintf(layer, sizeof layer, "%s/layer", stage);
        serve((char *[]){"fuse2fs", "-o", options, overlay, layer, NULL});
        /* The image has no such home: its mount point lies in a layer below. */
        snprintf(skeleton, sizeof skeleton, "%s/skeleton%s", stage, home);
        directories(skeleton);
        mkdir("layer/work/floor", 0755);
        snprintf(options, sizeof options,
                 "noacl,lowerdir=image:skeleton,upperdir=layer/upper,workdir=layer/work/floor,%s", own);
        serve((char *[]){"fuse-overlayfs", "-o", options, "merged", NULL});
        snprintf(root, sizeof root, "%s/merged", stage);
    }

    pid_t container = fork();
    must(container, "fork");
    if (container == 0) {
        char *first[] = {floor, stacked ? "root" : "directory", root, "0", "-", home}, **words;
        int rest = count - 7;
        words = calloc(6 + rest + 1, sizeof *words);
        memcpy(words, first, sizeof first);
        memcpy(words + 6, argument + 7, rest * sizeof *words);
        execv(floor, words);
        err(255, "%s", floor);
    }
    must(waitpid(container, &status, 0), "the container");
    must(chdir("/"), "/");
    must(umount2(stage, MNT_DETACH), stage);
    while (wait(NULL) > 0)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}
