//! The starter without a setuid bit: the caller holds the power to mount himself, in a user namespace of his own.

fn main() {
    engine::run::<engine::UserNamespace>()
}
