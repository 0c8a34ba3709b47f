//! Plans of every kind, well-formed, for properties.

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::frame::FrameError;
use protocol::*;

/// A frame around whatever body a plan has, without the checks of `encode`: what a liar would send.
pub(crate) fn unchecked_frame(plan: &Plan) -> Vec<u8> {
    let codec = bincode::config::standard().with_little_endian().with_fixed_int_encoding();
    frame_around(
        &bincode::serde::encode_to_vec(Request::from(plan.clone()), codec)
            .expect("a plan can be written down"),
    )
}

/// A frame with a right header around any body.
pub(crate) fn frame_around(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body");
    [&frame::MAGIC[..], &frame::VERSION.to_le_bytes(), &length.to_le_bytes(), body].concat()
}

/// A squashfs root and nothing else.
pub(crate) fn plain() -> Plan {
    Plan {
        root: Image {
            descriptor: Descriptor(0),
            content: Content::Squashfs(Window { offset: 4096, size: 1 << 20 }),
        },
        layers: vec![],
        writable: Writable::Nothing,
        mounts: vec![],
        namespaces: Namespaces::default(),
        hostname: None,
        account_files: vec![],
        instance: false,
        warnings: true,
    }
}

pub(crate) fn path(text: &str) -> ContainerPath {
    ContainerPath::new(text.into()).expect("a good path")
}

/// Any well-formed plan.
pub(crate) fn plans() -> impl Strategy<Value = Plan> {
    let account_files = proptest::sample::subsequence(
        vec![AccountFile::Passwd, AccountFile::Group, AccountFile::Hostname, AccountFile::ResolvConf],
        0..=4,
    )
    .prop_shuffle();
    let hostname = proptest::option::of("[a-z0-9A-Z][a-zA-Z0-9.-]{0,63}");
    let namespaces = any::<(bool, bool, bool, bool, bool)>();
    (stacks(), vec(mounts(), 0..12), namespaces, hostname, account_files, any::<bool>(), any::<usize>())
        .prop_map(
            |(
                (root, layers, writable),
                mounts,
                (pid, ipc, uts, net, joined),
                hostname,
                account_files,
                warnings,
                turn,
            )| {
                let hostname = hostname.map(|name| Hostname::new(name).expect("a good host name"));
                let namespaces = Namespaces { pid, ipc, uts: uts || hostname.is_some(), net };
                let instance = pid && joined;
                let mut plan = Plan {
                    root,
                    layers,
                    writable,
                    mounts,
                    namespaces,
                    hostname,
                    account_files,
                    instance,
                    warnings,
                };
                number(&mut plan, turn);
                plan
            },
        )
}

/// Gives every source a number of its own, from zero up, in an order that depends on `turn`.
fn number(plan: &mut Plan, turn: usize) {
    let count = plan.descriptor_count();
    let mut next =
        (0..count).map(|n| Descriptor(u16::try_from((n + turn % count) % count).expect("few sources")));
    let mut give = |descriptor: &mut Descriptor| *descriptor = next.next().expect("as many as were counted");
    give(&mut plan.root.descriptor);
    plan.layers.iter_mut().for_each(|layer| give(&mut layer.descriptor));
    if let Writable::Overlay(image) = &mut plan.writable {
        give(&mut image.descriptor);
    }
    for mount in &mut plan.mounts {
        match mount {
            Mount::Home(bind) | Mount::Hostfs(bind) | Mount::User(bind) => give(&mut bind.descriptor),
            Mount::Data { image, .. } => give(&mut image.descriptor),
            _ => {}
        }
    }
}

fn windows() -> impl Strategy<Value = Window> {
    (0..1_u64 << 62, 1..1_u64 << 62).prop_map(|(offset, size)| Window { offset, size })
}

fn writable_contents() -> impl Strategy<Value = Content> {
    prop_oneof![windows().prop_map(Content::Ext3), Just(Content::Directory)]
}

fn contents() -> impl Strategy<Value = Content> {
    prop_oneof![windows().prop_map(Content::Squashfs), writable_contents()]
}

/// An image whose number is still to be given.
fn images(content: impl Strategy<Value = Content>) -> impl Strategy<Value = Image> {
    content.prop_map(|content| Image { descriptor: Descriptor(0), content })
}

/// Root, layers and the writable part: a writable root has no layers and is no squashfs.
fn stacks() -> impl Strategy<Value = (Image, Vec<Image>, Writable)> {
    let writable = prop_oneof![
        Just(Writable::Nothing),
        Just(Writable::Tmpfs),
        images(writable_contents()).prop_map(Writable::Overlay)
    ];
    prop_oneof![
        3 => (images(contents()), vec(images(contents()), 0..6), writable),
        1 => images(writable_contents()).prop_map(|root| (root, vec![], Writable::Root)),
    ]
}

fn paths() -> impl Strategy<Value = ContainerPath> {
    let component = vec(any::<u8>(), 1..20);
    vec(component, 1..6).prop_filter_map("a path with one spelling", |components| {
        let bytes = components.into_iter().flat_map(|name| [vec![b'/'], name].concat()).collect();
        ContainerPath::new(bytes).ok()
    })
}

fn binds() -> impl Strategy<Value = Bind> {
    (paths(), any::<bool>(), any::<bool>()).prop_map(|(destination, read_only, optional)| Bind {
        descriptor: Descriptor(0),
        destination,
        read_only,
        optional,
    })
}

fn mounts() -> impl Strategy<Value = Mount> {
    let purpose = prop_oneof![Just(Scratch::Tmp), Just(Scratch::Home), Just(Scratch::Work)];
    let data = (images(contents()), proptest::option::of(paths()), paths(), any::<bool>()).prop_map(
        |(image, within, destination, writable)| {
            let writable = writable && !matches!(image.content, Content::Squashfs(_));
            Mount::Data { image, within, destination, writable }
        },
    );
    prop_oneof![
        Just(Mount::Dev(Dev::Host)),
        any::<(bool, bool)>().prop_map(|(terminals, gpus)| Mount::Dev(Dev::Minimal { terminals, gpus })),
        Just(Mount::Proc),
        Just(Mount::Sys),
        Just(Mount::Tmp),
        Just(Mount::VarTmp),
        Just(Mount::ResolvConf),
        paths().prop_map(Mount::SiteBind),
        binds().prop_map(Mount::Home),
        binds().prop_map(Mount::Hostfs),
        binds().prop_map(Mount::User),
        (paths(), purpose).prop_map(|(destination, purpose)| Mount::Scratch { destination, purpose }),
        data,
    ]
}

/// The frame of a plan.
pub(crate) fn encode(plan: &Plan) -> Result<Vec<u8>, FrameError> {
    protocol::frame::encode(&Request::from(plan.clone()))
}

/// The plan in a frame. A request for anything else is none, and has no frame that a plan could have.
pub(crate) fn decode(frame: &[u8]) -> Result<Plan, FrameError> {
    match protocol::frame::decode(frame)? {
        Request::Start(plan) => Ok(*plan),
        Request::Join => Err(FrameError::Body),
    }
}
