//! The setuid starter: the site's administrator lends the power to mount, under the rules of `singularity.conf`.

fn main() {
    engine::run::<engine::Setuid>()
}
