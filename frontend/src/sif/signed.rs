//! Which changes would break a signature.
//!
//! A signature covers what it is linked to. Today's are in no group and cover a group: which objects it has, what their
//! descriptors say (type, link, size, name, kind of partition, not place or time) and their data. Those that tools of 2018
//! to 2020 made are in a group themselves and cover the data of one object, or of all objects of a group. How a
//! signature is encoded (OpenPGP, DSSE) makes no difference to that. Of the header all cover nothing that a change
//! of objects touches.

use super::codes::DataType;
use super::table::{Descriptor, Link, Table};
use crate::error::{Failure, Outcome};

/// Whether a signature would still verify when a group gets an object of this type.
///
/// # Errors
/// It would not; which one and what to do.
pub(super) fn check_addition(table: &Table, group: Option<u32>, added: DataType) -> Outcome<()> {
    let Some(group) = group else { return Ok(()) };
    let broken = signatures(table).find(|signature| {
        signature.link == Link::Group(group) && (!is_legacy(signature) || added != DataType::Signature)
    });
    broken.map_or(Ok(()), |signature| {
        Err(Failure::new(format!(
            "group {group} is signed, and another object in it would break signature {}",
            signature.id
        ))
        .hint(format!(
            "Add it to another group, or delete object {} first if the image need not stay signed.",
            signature.id
        )))
    })
}

/// Whether every signature would still verify without an object. A signature itself may always go, unless another
/// one covers it.
///
/// # Errors
/// One would not; which one and what to do.
pub(super) fn check_deletion(table: &Table, object: &Descriptor) -> Outcome<()> {
    let broken = signatures(table).find(|signature| covers(signature, object));
    refuse_if(broken, object)
}

/// Whether every signature would still verify when the descriptor of an object changes.
///
/// # Errors
/// One would not; which one and what to do.
pub(super) fn check_description(table: &Table, object: &Descriptor) -> Outcome<()> {
    let broken = signatures(table).find(|signature| !is_legacy(signature) && covers(signature, object));
    refuse_if(broken, object)
}

fn refuse_if(broken: Option<&Descriptor>, object: &Descriptor) -> Outcome<()> {
    broken.map_or(Ok(()), |signature| {
        Err(Failure::new(format!(
            "object {} is signed, and changing or deleting it would break signature {}",
            object.id, signature.id
        ))
        .hint(format!("Delete object {} first if the image need not stay signed.", signature.id)))
    })
}

fn signatures(table: &Table) -> impl Iterator<Item = &Descriptor> {
    table.descriptors.iter().filter(|object| object.data_type == DataType::Signature)
}

fn covers(signature: &Descriptor, object: &Descriptor) -> bool {
    let counted = !is_legacy(signature) || object.data_type != DataType::Signature;
    match signature.link {
        _ if signature.id == object.id => false,
        Link::None => false,
        Link::Object(id) => id == object.id,
        Link::Group(group) => object.group == Some(group) && counted,
    }
}

fn is_legacy(signature: &Descriptor) -> bool {
    signature.group.is_some() || matches!(signature.link, Link::Object(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &[u8] = include_bytes!("../../tests/images/tiny.sif");
    const SIGNED: [&[u8]; 2] = [
        include_bytes!("../../tests/images/tiny-signed-pgp.sif"),
        include_bytes!("../../tests/images/tiny-signed-dsse.sif"),
    ];

    fn table(bytes: &[u8]) -> Table {
        Table::read(&bytes).unwrap()
    }

    /// The OpenPGP sample with its signature moved to a group and linked to something, as the old tools did.
    fn legacy(link: Link) -> Table {
        let mut table = table(SIGNED[0]);
        table.descriptors[3].group = Some(1);
        table.descriptors[3].link = link;
        table
    }

    /// For every object: whether it may be deleted, and whether it may be described anew.
    fn permitted(table: &Table) -> Vec<(bool, bool)> {
        let objects = table.descriptors.iter();
        objects
            .map(|object| (check_deletion(table, object).is_ok(), check_description(table, object).is_ok()))
            .collect()
    }

    #[test]
    fn a_signed_group_stays_as_it_is_and_its_signature_may_go() {
        for bytes in SIGNED {
            let table = table(bytes);
            assert_eq!(permitted(&table), [(false, false), (false, false), (false, false), (true, true)]);
            for added in [DataType::Partition, DataType::Signature] {
                check_addition(&table, Some(1), added).unwrap_err();
                check_addition(&table, Some(2), added).unwrap();
                check_addition(&table, None, added).unwrap();
            }
        }
    }

    #[test]
    fn an_old_signature_of_one_object_covers_its_data_alone() {
        let table = legacy(Link::Object(3));
        assert_eq!(permitted(&table), [(true, true), (true, true), (false, true), (true, true)]);
        check_addition(&table, Some(1), DataType::Partition).unwrap();
    }

    #[test]
    fn an_old_signature_of_a_group_covers_the_data_of_its_objects_but_not_of_signatures() {
        let table = legacy(Link::Group(1));
        assert_eq!(permitted(&table), [(false, true), (false, true), (false, true), (true, true)]);
        check_addition(&table, Some(1), DataType::Partition).unwrap_err();
        check_addition(&table, Some(1), DataType::Signature).unwrap();
    }

    #[test]
    fn a_signature_of_a_group_covers_an_older_signature_in_it() {
        let mut table = legacy(Link::Group(1));
        let mut newer = table.descriptors[3].clone();
        (newer.id, newer.slot, newer.group) = (5, 4, None);
        table.descriptors.push(newer);
        let last: Vec<bool> = permitted(&table).iter().skip(3).map(|(deleted, _)| *deleted).collect();
        assert_eq!(last, [false, true]);
    }

    #[test]
    fn nothing_is_refused_where_nothing_is_signed() {
        let table = table(TINY);
        assert_eq!(permitted(&table), [(true, true); 3]);
        check_addition(&table, Some(1), DataType::Partition).unwrap();
    }
}
