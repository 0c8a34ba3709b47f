/* The floor of a container start: the mounts that `lamina exec` makes for a plain container, and the exec, with
 * nothing asked, checked, confined or dropped. Root starts it, or `floor-fuse` in a user namespace, where there are no
 * image files. What it cannot do, it ends with: there is one exit status.
 *
 *   floor squashfs|directory|root IMAGE OFFSET OVERLAY|- HOME PROGRAM [ARGUMENT]...
 *
 * OFFSET is where the squashfs starts in IMAGE, in bytes; OVERLAY is an ext3 image with `upper` and `work`. A root is a
 * directory that needs no overlay. */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <sys/mount.h>, which has these, and <linux/mount.h> exclude each other in older C libraries. */
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
enum { DETACH = 2 };

static void must(int result, const char *what)
{
    if (result < 0)
        err(255, "%s", what);
}

/* Binds a window of a file to a free loop device that goes with its last user. The device stays open until exec. */
static void loop(const char *image, unsigned long long offset, int writable, char *device)
{
    struct loop_config config = {.info = {.lo_offset = offset, .lo_flags = LO_FLAGS_AUTOCLEAR}};
    int mode = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC, control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    config.info.lo_flags |= writable ? LO_FLAGS_DIRECT_IO : LO_FLAGS_READ_ONLY;
    must(control, "/dev/loop-control");
    must(config.fd = open(image, mode), image);
    for (;;) {
        int number = ioctl(control, LOOP_CTL_GET_FREE), fd;
        must(number, "LOOP_CTL_GET_FREE");
        sprintf(device, "/dev/loop%d", number);
        must(fd = open(device, mode), device);
        if (ioctl(fd, LOOP_CONFIGURE, &config) == 0)
            return;
        if (errno != EBUSY)
            err(255, "LOOP_CONFIGURE");
        close(fd);
    }
}

static void bind(const char *what, const char *where, unsigned long attributes)
{
    struct mount_attr change = {.attr_set = attributes};
    must(mount(what, where, NULL, MS_BIND | MS_REC, NULL), where);
    must(syscall(SYS_mount_setattr, AT_FDCWD, where, AT_RECURSIVE, &change, sizeof change), where);
}

/* A host file or directory, where the host and the container both have it. */
static void show(const char *what, unsigned long attributes)
{
    char where[4096];
    snprintf(where, sizeof where, "root%s", what);
    if (access(what, F_OK) == 0 && access(where, F_OK) == 0)
        bind(what, where, attributes);
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

/* The overlay on the image, writable where there is an image for that. */
static void stack(const char *overlay, const char *home)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV;
    char device[32], options[512], skeleton[4096];

    /* The image has no such home: its mount point lies in a layer below. */
    snprintf(skeleton, sizeof skeleton, "skeleton%s", home);
    directories(skeleton);
    strcpy(options, "lowerdir=image:skeleton,");
    strcat(options, getuid() == 0 ? "redirect_dir=follow,metacopy=off,index=off,xino=on" : "userxattr");
    if (strcmp(overlay, "-") != 0) {
        must(mkdir("layer", 0755), "layer");
        loop(overlay, 0, 1, device);
        must(mount(device, "layer", "ext3", flags, "errors=remount-ro"), "ext3");
        strcat(options, ",upperdir=layer/upper,workdir=layer/work");
    }
    must(mount("overlay", "root", "overlay", flags, options), "overlay");
}

int main(int count, char **argument)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV, closed = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if (count < 7)
        errx(255, "usage: floor squashfs|directory|root IMAGE OFFSET OVERLAY|- HOME PROGRAM [ARGUMENT]...");
    const char *kind = argument[1], *image = argument[2], *overlay = argument[4], *home = argument[5];
    char device[32];

    /* The same memory file system as the session's, over `/`: no path below goes through it but relative ones. */
    must(unshare(CLONE_NEWNS), "unshare");
    must(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL), "/");
    must(mount("tmpfs", "/", "tmpfs", flags, "mode=0755,size=64m"), "tmpfs");
    int session = open("/..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(session, "the session");
    must(fchdir(session), "the session");
    umask(0);
    must(mkdir("image", 0755), "image");
    must(mkdir("root", 0755), "root");

    if (strcmp(kind, "squashfs") == 0) {
        loop(image, strtoull(argument[3], NULL, 10), 0, device);
        must(mount(device, "image", "squashfs", flags | MS_RDONLY, NULL), "squashfs");
    } else if (strcmp(kind, "directory") == 0) {
        bind(image, "image", closed | MOUNT_ATTR_RDONLY);
    }
    if (strcmp(kind, "root") == 0) {
        bind(image, "root", closed);
    } else {
        stack(overlay, home);
    }

    show("/dev", MOUNT_ATTR_NOSUID);
    show("/etc/localtime", closed);
    show("/etc/hosts", closed);
    show("/proc", closed);
    /* It shows a network, which only the network's own user namespace may. */
    if (mount("sysfs", "root/sys", "sysfs", flags, NULL) < 0)
        show("/sys", closed);
    show(home, closed);
    show("/tmp", closed);
    show("/var/tmp", closed);
    show("/etc/resolv.conf", closed);
    const char *accounts[] = {"passwd", "group"};
    for (int i = 0; i < 2; i++) {
        char where[32];
        close(open(accounts[i], O_CREAT | O_WRONLY, 0644));
        snprintf(where, sizeof where, "root/etc/%s", accounts[i]);
        bind(accounts[i], where, closed);
    }

    must(chdir("root"), "root");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", DETACH), "the session");
    must(umount2(".", DETACH), "the host");
    must(chdir(home), home);
    execvp(argument[6], argument + 6);
    err(255, "%s", argument[6]);
}
