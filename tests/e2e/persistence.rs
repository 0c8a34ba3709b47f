//! Every kind of change to a file system is still there when the overlay is used again.

use std::path::{Path, PathBuf};
use tests::World;

/// A sandbox of the user's with something to change in it, and an overlay.
struct Changed {
    world: World,
    image: PathBuf,
    overlay: String,
}

impl Changed {
    fn new(megabytes: u64, prepare: &str) -> Self {
        let mut world = World::new();
        // The kernel's overlay is looked at here.
        world.conf("allow image overlay on dir = yes\n");
        let image = world.busybox_sandbox();
        let script = world.program("/bin/sh").args(["-ec", prepare]).cwd(&image);
        script.run().assert_ok();
        let overlay = world.ext3_overlay(megabytes).display().to_string();
        Self { world, image, overlay }
    }

    /// Changes something, which must work.
    fn change(&self, script: &str) -> &Self {
        self.changes(&["--overlay", &self.overlay], script)
    }

    fn changes(&self, options: &[&str], script: &str) -> &Self {
        let script = format!("set -e; cd /\n{script}");
        self.world.sh(options, &self.image, &script).run().assert_ok();
        self
    }

    /// What a new container shows, and one that only reads the overlay, and one that has more on top of it.
    #[track_caller]
    fn then(&self, script: &str, stdout: &str) -> &Self {
        let read_only = format!("{}:ro", self.overlay);
        for options in [
            &["--overlay", self.overlay.as_str()][..],
            &["--overlay", &read_only],
            &["--overlay", &read_only, "--writable-tmpfs"],
        ] {
            self.world
                .sh(options, &self.image, &format!("cd /\n{script}"))
                .run()
                .assert_ok()
                .assert_stdout(stdout);
        }
        self
    }

    /// The file system of the overlay is whole and was closed.
    fn check(&self) {
        let check = self.world.program("e2fsck").args(["-fn", &self.overlay]);
        check.run().assert_ok();
        assert!(!needs_recovery(Path::new(&self.overlay)));
    }
}

/// Whether the journal of an ext3 still holds something.
fn needs_recovery(image: &Path) -> bool {
    let bytes = std::fs::read(image).expect("root may read it");
    bytes[1024 + 0x60] & 4 != 0
}

#[test]
fn deleted_files_folders_and_links_stay_deleted() {
    let all = Changed::new(
        8,
        "mkdir -p d/sub/deep; echo 1 > d/file; echo 2 > d/sub/deep/file; ln -s file d/link; echo 3 > d/.hidden; echo 4 > d/kept",
    );
    all.change("rm d/file d/link d/.hidden; rm -r d/sub")
        .then("ls -A d; for name in file link .hidden sub; do test ! -e d/$name; done", "kept")
        .check();
}

#[test]
fn what_was_deleted_can_be_made_anew_and_deleted_again() {
    let all = Changed::new(8, "mkdir d; echo old > d/file; mkdir d/sub; echo old > d/sub/file");
    all.change("rm d/file; rm -r d/sub")
        .change("echo new > d/file; mkdir d/sub")
        .then("cat d/file; ls -A d/sub", "new")
        .change("rm d/file; rmdir d/sub")
        .then("ls -A d", "")
        .check();
}

#[test]
fn a_folder_made_in_the_place_of_a_deleted_one_hides_all_of_it() {
    let all = Changed::new(8, "mkdir -p d/sub; echo old > d/file; echo old > d/sub/file");
    all.change("rm -rf d; mkdir d; echo new > d/new")
        .then("find d | sort", "d\nd/new")
        .change("mkdir d/sub")
        .then("find d | sort", "d\nd/new\nd/sub")
        .check();
}

#[test]
fn files_and_folders_take_each_others_place() {
    let all =
        Changed::new(8, "mkdir d; echo old > d/file; mkdir d/sub; echo old > d/sub/file; ln -s sub d/link");
    all.change("rm d/file d/link; rm -r d/sub; mkdir d/file d/link; echo new > d/sub")
        .then("ls -A d/file d/link; cat d/sub", "d/file:\n\nd/link:\nnew")
        .check();
}

#[test]
fn a_folder_of_the_image_is_renamed_with_everything_in_it() {
    let all = Changed::new(8, "mkdir -p d/sub; echo 1 > d/file; echo 2 > d/sub/file; ln -s file d/link");
    all.change("mv d e")
        .then(
            "find d e 2>/dev/null | sort; cat e/file e/sub/file e/link",
            "e\ne/file\ne/link\ne/sub\ne/sub/file\n1\n2\n1",
        )
        .change("mv e/sub f; mv f e/file-2")
        .then("cat e/file-2/file; ls -A e", "2\nfile\nfile-2\nlink")
        .check();
}

#[test]
fn a_folder_of_the_overlay_is_renamed_back_and_forth() {
    let all = Changed::new(8, "mkdir d; echo old > d/file");
    all.change("mkdir new; echo 1 > new/file; rm -r d; mv new d; mkdir new; echo 2 > new/file")
        .then("cat d/file new/file", "1\n2")
        .change("mv d tmp-name; mv new d; mv tmp-name new")
        .then("cat d/file new/file", "2\n1")
        .check();
}

#[test]
fn files_of_the_image_are_renamed_over_each_other() {
    let all = Changed::new(8, "echo 1 > one; echo 2 > two; echo 3 > three");
    all.change("mv one two; mv three one")
        .then("cat one two; ls three 2>/dev/null || echo gone", "3\n1\ngone")
        .check();
}

#[test]
fn a_file_of_the_image_is_changed_in_every_way_and_the_image_is_not() {
    let all = Changed::new(
        8,
        "for name in append truncate mode time overwrite; do echo 12345 > $name; touch -d '2001-02-03 04:05:06' $name; done",
    );
    all.change(
        "echo 6 >> append; truncate -s 2 truncate; chmod 640 mode; touch -d '2011-02-03 04:05:06' time",
    )
    .change("printf x | dd of=overwrite bs=1 seek=2 conv=notrunc 2>/dev/null")
    .then(
        "cat append; cat truncate; echo; stat -c %a mode; stat -c %Y time mode; cat overwrite",
        "12345\n6\n12\n640\n1296705906\n981173106\n12x45",
    );
    for name in ["append", "truncate", "overwrite"] {
        let content = std::fs::read_to_string(all.image.join(name)).expect("it is there");
        assert_eq!(content, "12345\n", "{name}");
    }
    all.check();
}

#[test]
fn links_and_pipes_are_kept() {
    let all = Changed::new(8, "echo old > file");
    all.change("ln file hard; ln -s file soft; ln -s /nowhere/at/all broken; mkfifo pipe; echo new > hard")
        .then(
            "cat file soft; readlink broken; test -p pipe; test file -ef hard; stat -c %h file",
            "new\nnew\n/nowhere/at/all\n2",
        )
        .check();
}

#[test]
fn odd_names_are_kept() {
    let all = Changed::new(8, "mkdir d");
    let longest = "n".repeat(255);
    let script = format!(
        "cd d; touch 'a b' \"$(printf 'line\\nbreak')\" \"$(printf '\\377\\376')\" ünïcode -- -x '*' {longest}"
    );
    all.change(&script)
        .then(
            &format!("cd d; for name in *; do test -f \"./$name\" && echo ok; done; test -f {longest}; find . -name 'line*break'"),
            "ok\nok\nok\nok\nok\nok\nok\n./line\nbreak",
        )
        .change("cd d; for f in *; do rm \"./$f\"; done")
        .then("ls -A d", "")
        .check();
}

#[test]
fn permissions_and_modes_are_kept_and_enforced() {
    let all = Changed::new(8, "mkdir closed; echo secret > closed/file; echo run > plain");
    all.change("chmod 0 closed; chmod 7755 plain; umask 077; echo x > mine; mkdir -m 1777 sticky").then(
        "stat -c '%a %n' plain mine sticky closed; cat closed/file 2>&1 || true",
        "7755 plain\n600 mine\n1777 sticky\n0 closed\ncat: can't open 'closed/file': Permission denied",
    );
}

#[test]
fn many_files_are_kept() {
    let all = Changed::new(16, "true");
    all.change("mkdir many; cd many; for i in $(seq 1500); do echo $i > $i; done")
        .change("cd many; for i in $(seq 2 2 1500); do rm $i; done")
        .then("ls many | wc -l; cat many/1499", "750\n1499")
        .check();
}

#[test]
fn a_large_file_is_kept_bit_by_bit() {
    let all = Changed::new(64, "true");
    let sum = "dd if=/dev/urandom of=large bs=1M count=20 2>/dev/null; md5sum large > sum";
    all.change(sum).then("md5sum -c sum", "large: OK").check();
}

#[test]
fn a_sparse_file_stays_sparse() {
    let all = Changed::new(8, "true");
    all.change("truncate -s 1G sparse; echo end >> sparse")
        .then("stat -c %s sparse; tail -c 4 sparse", "1073741828\nend")
        .check();
}

#[test]
fn a_program_copied_into_the_overlay_runs() {
    let all = Changed::new(8, "true");
    all.change("mkdir tools; cp bin/busybox tools/echo").then("/tools/echo runs", "runs").check();
}

#[test]
fn a_full_overlay_says_so_and_keeps_what_it_has() {
    let all = Changed::new(8, "echo old > file");
    let full = "echo new > /file; dd if=/dev/zero of=/zeroes bs=64k; cat /file";
    all.world
        .sh(&["--overlay", &all.overlay], &all.image, full)
        .run()
        .assert_ok()
        .assert_stdout("new")
        .assert_stderr_has("No space left on device");
    all.then("cat file", "new")
        .change("rm /zeroes; echo newer > file")
        .then("cat file; ls /zeroes 2>/dev/null || echo gone", "newer\ngone")
        .check();
}

#[test]
fn root_gives_files_away_and_they_stay_given() {
    let world = World::new();
    let (image, overlay) = (world.busybox_sqfs("gzip"), world.ext3_overlay(8).display().to_string());
    let options = ["--overlay", overlay.as_str()];
    let script =
        "mkdir /data; chown 58001:58001 /data; touch /big; chown 70002:4000000000 /big; mknod /null c 1 3";
    world.sh(&options, &image, script).as_root().run().assert_ok();
    let script = "stat -c '%u %g' /data /big; touch /data/mine; cat /null";
    world
        .sh(&options, &image, script)
        .run()
        .assert_status(1)
        .assert_stdout("58001 58001\n70002 4000000000")
        .assert_stderr_has("Permission denied");
}

#[test]
fn the_inode_number_of_a_file_does_not_change_when_it_is_written() {
    let all = Changed::new(8, "echo old > file");
    all.change("stat -c %i file > before; echo new >> file; stat -c %i file > after; cmp before after");
}

#[test]
fn an_overlay_is_whole_and_closed_when_the_command_returns() {
    let all = Changed::new(8, "mkdir d");
    for round in 0..5 {
        all.change(&format!("echo {round} > d/{round}"));
        assert!(!needs_recovery(Path::new(&all.overlay)), "round {round}");
    }
    all.check();
}

#[test]
fn a_copied_and_a_moved_overlay_are_as_good_as_the_first() {
    let all = Changed::new(8, "true");
    all.change("echo kept > note");
    let (copy, moved) = (all.world.path("copy.img"), all.world.path("moved.img"));
    std::fs::copy(&all.overlay, &copy).expect("root may");
    all.world.give(&copy);
    std::fs::rename(&all.overlay, &moved).expect("root may");
    for path in [copy, moved] {
        let path = path.display().to_string();
        all.world.sh(&["--overlay", &path], &all.image, "cat /note").run().assert_ok().assert_stdout("kept");
    }
}

#[test]
fn an_overlay_serves_a_changed_image_too() {
    let all = Changed::new(8, "mkdir d; echo 1 > d/one");
    all.change("echo kept > d/note; rm d/one");
    all.world.write("busybox/d/two", "2\n");
    all.then("ls -A d; cat d/two", "note\ntwo\n2").check();
}
