use super::*;
use std::fs;
use std::os::unix::fs::symlink;

struct Place {
    _folder: tempfile::TempDir,
    host: PathBuf,
    root: PathBuf,
    tree: Tree,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let [host, root] = ["host", "root"].map(|name| folder.path().join(name));
    fs::create_dir(&host).unwrap();
    fs::create_dir(&root).unwrap();
    let tree = Tree::below(&root).unwrap();
    Place { host, root: tree.path().to_path_buf(), tree, _folder: folder }
}

fn copy(place: &Place, from: Supply<'_>, lines: &[(&str, Option<&str>)]) -> Outcome<()> {
    let transfers = lines.iter().map(|(source, destination)| super::super::definition::Transfer {
        source: (*source).to_owned(),
        destination: destination.map(str::to_owned),
    });
    let set = FileSet { stage: None, line: 1, transfers: transfers.collect() };
    let interrupts = Interrupts::hold().unwrap();
    let tools = Tools { programs: &crate::confined::helper::Programs::default(), interrupts: &interrupts };
    transfer::copy(&set, from, &place.tree, "", tools)
}

#[test]
fn files_of_the_host_land_where_the_section_says() {
    let place = place();
    fs::create_dir_all(place.host.join("folder/inner")).unwrap();
    for name in ["one.txt", "two.txt", ".hidden.txt", "folder/inner/three"] {
        fs::write(place.host.join(name), name).unwrap();
    }
    symlink("one.txt", place.host.join("link")).unwrap();
    fs::create_dir_all(place.root.join("usr/opt")).unwrap();
    symlink("usr/opt", place.root.join("opt")).unwrap();
    let host = |name: &str| place.host.join(name).to_str().unwrap().to_owned();
    copy(
        &place,
        Supply::Host,
        &[
            (&host("one.txt"), None),
            (&host("one.txt"), Some("/new/place/renamed")),
            (&host("*.txt"), Some("/texts")),
            (&host("link"), Some("/opt/")),
            (&host("folder"), Some("/opt")),
            (&host("folder"), Some("/copy")),
        ],
    )
    .unwrap();
    let read = |name: &str| fs::read_to_string(place.root.join(name.trim_start_matches('/'))).unwrap();
    assert_eq!(read(&host("one.txt")), "one.txt");
    assert_eq!(read("new/place/renamed"), "one.txt");
    assert_eq!((read("texts/one.txt"), read("texts/two.txt")), ("one.txt".into(), "two.txt".into()));
    assert!(!place.root.join("texts/.hidden.txt").exists());
    assert!(place.root.join("usr/opt/link").symlink_metadata().unwrap().is_file());
    assert_eq!(read("usr/opt/folder/inner/three"), "folder/inner/three");
    assert_eq!(read("copy/inner/three"), "folder/inner/three");
    let missing = copy(&place, Supply::Host, &[(&host("*.none"), None)]).unwrap_err().to_string();
    assert!(missing.ends_with("no such file or directory"), "{missing}");
}

#[test]
fn no_link_in_an_image_leads_a_copy_or_a_text_out_of_it() {
    let (place, stage) = (place(), place());
    fs::write(stage.host.join("secret"), "secret").unwrap();
    fs::write(stage.root.join("made"), "made").unwrap();
    symlink("/made", stage.root.join("absolute")).unwrap();
    symlink(stage.host.join("secret"), stage.root.join("out")).unwrap();
    fs::write(place.host.join("victim"), "untouched").unwrap();
    symlink(place.host.join("victim"), place.root.join("file")).unwrap();
    symlink(&place.host, place.root.join("folder")).unwrap();
    copy(&place, Supply::Stage(&stage.tree), &[("/absolute", Some("/file"))]).unwrap();
    assert_eq!(fs::read_to_string(place.root.join("file")).unwrap(), "made");
    assert!(copy(&place, Supply::Stage(&stage.tree), &[("/out", Some("/x"))]).is_err());
    assert!(copy(&place, Supply::Stage(&stage.tree), &[("/made", Some("/folder/victim"))]).is_err());
    fs::remove_file(place.root.join("file")).unwrap();
    symlink(place.host.join("victim"), place.root.join("file")).unwrap();
    place.tree.write("/file", "text", 0o644).unwrap();
    assert!(place.tree.write("/folder/victim", "text", 0o644).is_err());
    assert_eq!(fs::read_to_string(place.root.join("file")).unwrap(), "text");
    assert_eq!(fs::read_to_string(place.host.join("victim")).unwrap(), "untouched");
}

#[test]
fn directories_are_made_in_the_image_wherever_its_links_lead() {
    let place = place();
    fs::create_dir(place.root.join("usr")).unwrap();
    symlink("/usr", place.root.join("link")).unwrap();
    assert_eq!(place.tree.directory(Path::new("/link/a/b")).unwrap(), place.root.join("usr/a/b"));
    assert_eq!(place.tree.directory(Path::new("/../../x")).unwrap(), place.root.join("x"));
    assert_eq!(place.tree.directory(Path::new("/")).unwrap(), place.root);
    fs::write(place.root.join("file"), "").unwrap();
    assert!(place.tree.directory(Path::new("/file")).is_err());
}

#[test]
fn sections_are_all_or_those_that_are_named() {
    let of = |words: &[&str]| Sections::of(&words.iter().map(OsString::from).collect::<Vec<_>>(), false);
    assert!(of(&[]).unwrap().has("post"));
    assert!(of(&["all"]).unwrap().has("post"));
    assert!(of(&["post", "test"]).unwrap().has("test"));
    assert!(!of(&["post"]).unwrap().has("files"));
    assert!(!of(&["none"]).unwrap().has("post"));
    assert!(of(&["psot"]).is_err() && of(&["none", "post"]).is_err());
}
