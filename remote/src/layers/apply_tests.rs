//! Layers upon layers, and what is left of them.

use super::super::marks::Marks;
use super::*;
use std::collections::BTreeSet;
use std::io;
use tar::{Builder, EntryType, Header};

/// A layer in short: `name/` is a directory, `name>target` a symbolic link, `name=target` a hard link, `name:text` a
/// file and `name` an empty one.
fn layer(members: &[&str]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        header.set_mode(0o640);
        let (name, content) = if let Some((name, target)) = member.split_once('>') {
            header.set_entry_type(EntryType::Symlink);
            header.set_link_name_literal(target).unwrap();
            (name, "")
        } else if let Some((name, target)) = member.split_once('=') {
            header.set_entry_type(EntryType::Link);
            header.set_link_name_literal(target).unwrap();
            (name, "")
        } else if let Some((name, text)) = member.split_once(':') {
            (name, text)
        } else if member.ends_with('/') {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o750);
            (*member, "")
        } else {
            (*member, "")
        };
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// What is left of some layers, in the same words.
fn merged(layers: &[&[&str]]) -> BTreeSet<String> {
    let layers: Vec<Vec<u8>> = layers.iter().map(|members| layer(members)).collect();
    let mut tree = Tree::new();
    for (number, stream) in layers.iter().enumerate() {
        tree.apply(number, stream.as_slice()).unwrap();
    }
    written(&tree, Marks::Overlay, &layers)
}

/// What one layer says by itself, in the form of a registry or of an overlay: a mark of the latter is `name!`, and
/// `name/!` a directory with one.
fn alone(members: &[&str], marks: Marks) -> BTreeSet<String> {
    let layer = layer(members);
    let mut tree = Tree::for_one_layer();
    tree.apply(0, layer.as_slice()).unwrap();
    written(&tree, marks, &[layer])
}

fn written(tree: &Tree, marks: Marks, layers: &[Vec<u8>]) -> BTreeSet<String> {
    let mut out = Vec::new();
    tree.write(&mut out, marks, |number| Ok(layers[number].as_slice())).unwrap();
    let mut archive = tar::Archive::new(out.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let target = entry.link_name_bytes().map(|name| String::from_utf8(name.into_owned()).unwrap());
        match entry.header().entry_type() {
            EntryType::Symlink => format!("{name}>{}", target.unwrap()),
            EntryType::Link => format!("{name}={}", target.unwrap()),
            EntryType::Directory => {
                let mut records = entry.pax_extensions().unwrap().into_iter().flatten();
                let opaque = |key: &str| key == "SCHILY.xattr.trusted.overlay.opaque";
                let marked = records.any(|record| opaque(record.unwrap().key().unwrap()));
                if marked { name + "!" } else { name }
            }
            EntryType::Char => name + "!",
            _ => match io::read_to_string(&mut entry).unwrap().as_str() {
                "" => name,
                text => format!("{name}:{text}"),
            },
        }
    });
    entries.collect()
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_upper_layer_wins_and_directories_merge() {
    let left = merged(&[&["a:1", "d/", "d/x:1", "d/y:1"], &["./a:2", "d/", "d/x:2", "/e:2"]]);
    assert_eq!(left, names(&["a:2", "d/", "d/x:2", "d/y:1", "e:2"]));
}

#[test]
fn a_whiteout_deletes_what_is_below_it_and_nothing_of_its_own_layer() {
    let left = merged(&[&["a", "d/", "d/x", "d/y/", "d/y/z"], &[".wh.a", "d/.wh.y", "d/new", ".wh.none"]]);
    assert_eq!(left, names(&["d/", "d/x", "d/new"]));
    for upper in [[".wh.d", "d/", "d/new"], ["d/", "d/new", ".wh.d"], ["d/new", ".wh.d", "d/"]] {
        assert_eq!(merged(&[&["d/", "d/old", "d/s/", "d/s/old"], &upper]), names(&["d/", "d/new"]));
    }
}

#[test]
fn an_opaque_directory_hides_what_lower_layers_have_in_it() {
    for upper in [["d/", "d/.wh..wh..opq", "d/new"], ["d/", "d/new", "d/.wh..wh..opq"]] {
        let left = merged(&[&["d/", "d/old", "d/s/", "d/s/old"], &upper, &["d/s/third"]]);
        assert_eq!(left, names(&["d/", "d/new", "d/s/", "d/s/third"]));
    }
}

#[test]
fn a_layer_by_itself_keeps_its_marks_in_either_form() {
    let members = [".wh.gone", "d/", "d/.wh..wh..opq", "d/new", "e/.wh.f", "g", ".wh.g", ".wh.h", "h/x"];
    let overlay = names(&["gone!", "d/!", "d/new", "e/", "e/f!", "g", "h/!", "h/x"]);
    assert_eq!(alone(&members, Marks::Overlay), overlay);
    let registry = alone(&members, Marks::Registry);
    let wanted = [
        "./",
        ".wh.gone",
        "d/",
        "d/.wh..wh..opq",
        "d/new",
        "e/",
        "e/.wh.f",
        "g",
        "h/",
        "h/.wh..wh..opq",
        "h/x",
    ];
    assert_eq!(registry, names(&wanted));
    // The one form becomes the other again.
    let again: Vec<&str> = registry.iter().map(String::as_str).collect();
    let overlay: BTreeSet<String> = overlay.into_iter().chain(["./".to_owned()]).collect();
    let there: BTreeSet<String> =
        alone(&again, Marks::Overlay).into_iter().chain(["./".to_owned()]).collect();
    assert_eq!(there, overlay);
}

#[test]
fn a_layer_by_itself_leaves_directories_that_it_does_not_describe_as_they_are() {
    let mut below = Tree::new();
    below.apply(0, layer(&["d/", "d/e/", "d/e/f"]).as_slice()).unwrap();
    let upper = layer(&["d/e/.wh.f", "d/e/g/h", "n/x"]);
    let mut tree = Tree::for_one_layer();
    tree.apply(1, upper.as_slice()).unwrap();
    tree.inherit(&below);
    let mode = |tree: &Tree, path: &[&str]| {
        let found =
            path.iter().fold(Tree::ROOT, |here, name| tree.child(here, name.as_bytes()).unwrap().node);
        tree.node(found).attributes.mode
    };
    assert_eq!([mode(&tree, &["d"]), mode(&tree, &["d", "e"])], [0o750; 2]);
    assert_eq!([mode(&tree, &["n"]), mode(&tree, &["d", "e", "g"])], [0o755; 2]);
}

#[test]
fn marks_of_one_layer_and_its_drivers_never_reach_the_image() {
    let left = merged(&[&[".wh.gone", "d/", "d/.wh..wh..opq", ".wh..wh.plnk/", ".wh..wh.aufs"]]);
    assert_eq!(left, names(&["d/"]));
}

#[test]
fn what_changes_its_kind_takes_the_place_of_the_other() {
    let left = merged(&[&["d/", "d/x", "f", "l>d"], &["d", "f/", "f/x", "l/"]]);
    assert_eq!(left, names(&["d", "f/", "f/x", "l/"]));
}

#[test]
fn hard_links_reach_across_layers_and_outlive_their_target() {
    let left = merged(&[&["a:1", "b=a"], &["c=b", ".wh.a", "b:2"], &["later=d", "d:3"]]);
    assert_eq!(left, names(&["b:2", "c:1", "d:3", "later=d"]));
    let refused = Tree::new().apply(0, layer(&["a=missing"]).as_slice()).unwrap_err().to_string();
    assert_eq!(refused, "a layer has a hard link a to missing, which is not there");
}

#[test]
fn names_through_symbolic_links_land_where_those_lead_inside_the_image() {
    let lower: &[&str] = &["usr/lib/", "lib>usr/lib", "abs>/usr", "out>../../../etc", "self>."];
    let left = merged(&[lower, &["lib/a", "abs/b", "out/c", "self/self/d", "../../e", ".wh..."]]);
    let wanted = ["usr/", "usr/lib/", "usr/lib/a", "usr/b", "etc/", "etc/c", "d", "e"];
    assert_eq!(left, names(&[&wanted[..], &lower[1..]].concat()));
    let refused = Tree::new().apply(0, layer(&["a>b", "b>a", "a/x"]).as_slice()).unwrap_err().to_string();
    assert!(refused.contains("in a circle"), "{refused}");
}

#[test]
fn names_that_no_file_system_holds_are_refused() {
    let path = "d/".repeat(2100);
    let mut tree = Tree::new();
    tree.place(path.as_bytes(), 0).unwrap_err();
    tree.place(b"a\0b", 0).unwrap_err();
    tree.name(Tree::ROOT, &[b'n'; 256], Child { node: Tree::ROOT, layer: 0 }).unwrap_err();
    tree.name(Tree::ROOT, &[b'n'; 255], Child { node: Tree::ROOT, layer: 0 }).unwrap();
}

#[test]
fn owners_are_let_into_their_files_without_anything_else_being_changed() {
    let mut tree = Tree::new();
    tree.apply(0, layer(&["closed", "program", "folder/", "link>closed"]).as_slice()).unwrap();
    let id = |tree: &Tree, name: &str| tree.child(Tree::ROOT, name.as_bytes()).unwrap().node;
    for (name, before, after) in
        [("closed", 0o4000, 0o4600), ("program", 0o015, 0o715), ("folder", 0o1500, 0o1700), ("link", 0, 0)]
    {
        let node = id(&tree, name);
        tree.node_mut(node).attributes.mode = before;
        tree.let_owners_in();
        assert_eq!(tree.node(node).attributes.mode, after, "{name}");
    }
}

#[test]
fn extended_attributes_of_overlays_and_of_the_host_are_left_out() {
    for kept in ["user.comment", "security.capability"] {
        assert!(is_kept(kept.as_bytes()), "{kept}");
    }
    for left_out in
        ["trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque", "security.selinux"]
    {
        assert!(!is_kept(left_out.as_bytes()), "{left_out}");
    }
}
