//! Images on file systems of every kind.

use std::fs;
use std::path::{Path, PathBuf};
use tests::{Command, User, World};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// An ext3 that its user mounts by fuse2fs, which lets nobody else in.
struct Fuse<'a> {
    world: &'a World,
    user: User,
    place: PathBuf,
}

impl<'a> Fuse<'a> {
    fn mount(world: &'a World, user: User) -> Self {
        let (image, place) = (world.path("fuse.img"), world.mkdir("fuse"));
        let owner = format!("root_owner={}:{}", user.uid, user.gid);
        let mkfs = world.program("mkfs.ext3").args(["-q", "-E", &owner]).arg(&image);
        mkfs.arg("24M").run().assert_ok();
        let fuse = Self { world, user, place };
        fuse.program("fuse2fs").args([&image, &fuse.place]).run().assert_ok();
        fuse
    }

    fn program(&self, program: &str) -> Command {
        self.world.program(program).as_user(self.user.clone())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    fn copy(&self, file: &Path, name: &str) -> PathBuf {
        let copy = self.path(name);
        self.program("cp").args([file, &copy]).run().assert_ok();
        copy
    }
}

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        self.program("fusermount3").arg("-u").arg(&self.place).run().assert_ok();
    }
}

#[test]
fn what_is_on_a_fuse_mount_closed_to_root_is_refused_with_the_option_that_opens_it() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), world.ext3_overlay(8));
    let fuse = Fuse::mount(&world, User::first());
    let (fuse_image, fuse_overlay) = (fuse.copy(&image, "box.sif"), fuse.copy(&overlay, "overlay.img"));
    let (overlay, bind) = (text(&fuse_overlay), format!("{}:/mnt", fuse.place.display()));
    for (options, image, path) in [
        (&[][..], &fuse_image, &fuse_image),
        (&["--overlay", overlay.as_str()], &image, &fuse_overlay),
        (&["--bind", &bind], &image, &fuse.place),
    ] {
        let words = format!(
            "{} is on a FUSE file system that is closed to everybody but the user who mounted it\n",
            path.display()
        );
        world.sh(options, image, "true").run().assert_fatal(&words).assert_stderr_has("-o allow_other");
    }
}

#[test]
fn a_working_directory_on_a_fuse_mount_closed_to_root_is_left_out_and_stops_nothing() {
    let world = World::new();
    let image = world.busybox_sif();
    let fuse = Fuse::mount(&world, User::first());
    let script = format!(
        "cd {} && exec {} exec --no-mount tmp {} echo runs",
        fuse.place.display(),
        world.installed().lamina().display(),
        image.display()
    );
    fuse.program("/bin/sh")
        .args(["-c", &script])
        .run()
        .assert_ok()
        .assert_stdout("runs")
        .assert_stderr_has("WARNING: Skipping mount of the working directory: ");
}

#[test]
fn a_directory_overlay_on_an_unfit_file_system_is_refused_by_its_name() {
    let world = World::new();
    let image = world.busybox_sif();
    let fuse = Fuse::mount(&world, User::root());
    let directory = fuse.path("changes");
    fuse.program("mkdir").arg(&directory).run().assert_ok();
    let path = text(&directory);
    world
        .sh(&["--overlay", &path], &image, "true")
        .as_root()
        .run()
        .assert_fatal(&format!(
            "FATAL:   while loading overlay images: {path} is located on a FUSE filesystem incompatible as overlay upper \
             directory\n"
        ));
    world
        .sh(&["--overlay", &format!("{path}:ro")], &image, "echo runs")
        .as_root()
        .run()
        .assert_ok()
        .assert_stdout("runs");
}

#[test]
fn a_users_directory_overlay_on_an_unfit_file_system_goes_through_fuse_overlayfs() {
    let world = World::new();
    let image = world.busybox_sif();
    let fuse = Fuse::mount(&world, User::first());
    let directory = fuse.path("changes");
    fuse.program("mkdir").arg(&directory).run().assert_ok();
    let path = text(&directory);
    world
        .lamina(["-v", "exec", "--userns", "--overlay", &path])
        .arg(&image)
        .args(["sh", "-c", "echo kept >/note; rm /bin/true"])
        .run()
        .assert_ok()
        .assert_stderr_has("Using fuse-overlayfs for ");
    for option in [path.clone(), format!("{path}:ro")] {
        world
            .sh(
                &["--userns", "--overlay", &option],
                &image,
                "cat /note; ls /bin/true 2>/dev/null || echo gone",
            )
            .run()
            .assert_ok()
            .assert_stdout("kept\ngone");
    }
}

#[test]
fn a_directory_overlay_on_another_overlay_is_refused_and_not_left_out() {
    let world = World::new();
    let image = world.busybox_sif();
    let tmpfs = world.tmpfs("layers", "size=8m");
    let folders = ["lower", "upper", "work", "merged"].map(|name| world.mkdir(&format!("layers/{name}")));
    let [lower, upper, work, merged] = folders.each_ref().map(|folder| folder.display());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let script = format!(
        "mount -t overlay overlay -o {options} {merged} && exec {} exec --overlay {merged} {} true",
        world.installed().lamina().display(),
        image.display()
    );
    world.program("unshare").args(["-m", "sh", "-c", &script]).as_root().run().assert_fatal("overlay");
    drop(tmpfs);
}

#[test]
fn images_run_from_where_nothing_may_be_executed() {
    let world = World::new();
    let media = world.tmpfs("media", "size=32m");
    let remount = world.program("mount").args(["-o", "remount,noexec,nosuid,nodev"]);
    remount.arg(media.path()).as_root().run().assert_ok();
    let (image, overlay) = (media.path().join("box.sif"), media.path().join("overlay.img"));
    fs::copy(world.busybox_sif(), &image).expect("there is room");
    fs::copy(world.ext3_overlay(8), &overlay).expect("there is room");
    world.give(&overlay);
    world
        .sh(&["--overlay", &text(&overlay)], &image, "cp /bin/busybox /echo; /echo runs")
        .run()
        .assert_ok()
        .assert_stdout("runs");
}

#[test]
fn a_sif_with_an_overlay_on_a_read_only_file_system_runs_and_cannot_be_written() {
    let world = World::new();
    let media = world.tmpfs("media", "size=128m");
    let image = media.path().join("box.sif");
    fs::copy(world.busybox_sif(), &image).expect("there is room");
    world.give(&image);
    let create = world.lamina(["overlay", "create", "--sparse"]).arg(&image);
    create.run().assert_ok();
    world.sh(&["--writable"], &image, "echo kept > /note").run().assert_ok();
    media.make_read_only();
    world.sh(&[], &image, "cat /note").run().assert_ok().assert_stdout("kept");
    world
        .sh(&["--writable"], &image, "true")
        .run()
        .assert_fatal(&format!("could not use {} for writing", image.display()));
}

#[test]
fn a_limit_on_the_size_of_files_is_told_and_nobody_dies_of_it() {
    let world = World::new();
    let script =
        format!("ulimit -f 1000; exec {} overlay create o.img", world.installed().lamina().display());
    world.program("/bin/sh").args(["-c", &script]).run().assert_fatal(&format!(
        "files of 64 MiB are more than the file system of {} or your limits ('ulimit -f') allow",
        world.home().display()
    ));
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn media_that_cannot_be_written_are_told_from_files_that_may_not() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sif(), text(&world.ext3_overlay(8)));
    let read_only = "mount --bind \"$W\" \"$W\"; mount -o remount,bind,ro \"$W\"";
    let words = "for writing, you don't have write permissions (its file system is mounted read-only)";
    let run = |option: &str| {
        let command = world.after(read_only, world.installed().lamina());
        command.args(["exec", "--overlay", option]).arg(&image).args(["echo", "runs"]).run()
    };
    run(&overlay).assert_fatal(words).assert_stderr_has(&format!("{overlay}:ro"));
    run(&format!("{overlay}:ro")).assert_ok().assert_stdout("runs");
}
